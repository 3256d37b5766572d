"""k-hat on tails whose shape is known, and against the equations of an independent implementation."""

import arviz_stats.base as arviz_base_stats
import numpy as np
import pytest

from vi_kl.diagnostics import pareto_k


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8, 1.2])
def test_a_pareto_tail_has_its_own_shape(shape):
    """Weights U^-shape have a Pareto tail of that shape: the sign convention cannot be turned round."""
    estimates = [pareto_k(-shape * np.log(np.random.default_rng(seed).random(4000))) for seed in range(40)]
    error = np.std(estimates, ddof=1) / np.sqrt(40)
    assert abs(np.mean(estimates) - shape) < 4 * error + 0.03


def test_it_is_the_same_number_as_arviz():
    rng = np.random.default_rng(3)
    for log_weights in (-0.7 * np.log(rng.random(2000)), rng.normal(size=2000), rng.normal(size=5000) ** 2):
        _, theirs = arviz_base_stats.array_stats.psislw(-log_weights) if ARVIZ_NEGATES else (
            arviz_base_stats.array_stats.psislw(log_weights)
        )  # fmt: skip
        assert pareto_k(log_weights) == pytest.approx(float(theirs), abs=0.02)


def arviz_negates() -> bool:
    """arviz-stats changed the sign of its argument between versions: a Pareto tail of shape 1 tells which."""
    heavy = -np.log(np.random.default_rng(0).random(4000))
    return float(arviz_base_stats.array_stats.psislw(heavy)[1]) < 0.5


ARVIZ_NEGATES = arviz_negates()


def test_weights_within_a_tenth_of_each_other_have_no_tail():
    assert pareto_k(np.zeros(500)) == -np.inf
    heavy_but_tiny = -1.2 * np.log(np.random.default_rng(0).random(2000))
    assert pareto_k(1e-3 * heavy_but_tiny) == -np.inf
    assert pareto_k(heavy_but_tiny) > 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [(np.zeros(50), "100"), (np.full(200, np.nan), "NaN"), (np.zeros((10, 200)), "one axis")],
)
def test_nonsense_is_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        pareto_k(bad)


def test_a_few_weights_that_hold_everything_are_no_flat_tail():
    """One draw in a thousand where the density is e^1000 times that of the others."""
    log_weights = np.zeros(1000)
    log_weights[:2] = 1000.0, 1001.0
    assert pareto_k(log_weights) == np.inf
