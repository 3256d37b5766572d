"""KL from draws alone: against closed forms, with a jackknife checked by brute force and by repetition."""

import numpy as np
import pytest
from scipy.special import digamma, gammaln

from vi_kl.divergences import estimate_kl_from_draws
from vi_kl.divergences.estimators.nearest_neighbours import neighbour_kl


def gamma_kl(a, b, c, d):
    return (a - c) * digamma(a) - gammaln(a) + gammaln(c) + c * np.log(b / d) + a * (d - b) / b


def two_modes(rng, n):
    right = rng.random(n) < 0.7
    return np.where(right, rng.normal(2, 1, n), rng.normal(-2, 0.5, n))


def two_modes_kl():
    """To N(0, 3): the cross-entropy is known, the entropy by the trapezoidal rule."""
    x = np.linspace(-12, 12, 100_001)
    p = (0.6 * np.exp(-2 * (x + 2) ** 2) + 0.7 * np.exp(-0.5 * (x - 2) ** 2)) / np.sqrt(2 * np.pi)
    return np.trapezoid(p * np.log(p), x) + np.log(3 * np.sqrt(2 * np.pi)) + (0.3 * 4.25 + 0.7 * 5) / 18


CASES = {
    "shifted": (lambda r, n: r.normal(0, 1, n), lambda r, n: r.normal(0.5, 1, n), 0.125),
    "wide": (lambda r, n: r.normal(0, 1, n), lambda r, n: r.normal(0, 2, n), np.log(2) - 3 / 8),
    "skewed": (lambda r, n: r.gamma(2, 1 / 3, n), lambda r, n: r.gamma(3, 1 / 3, n), gamma_kl(2, 3, 3, 3)),
    "two modes": (two_modes, lambda r, n: r.normal(0, 3, n), two_modes_kl()),
    "a plane": (lambda r, n: r.normal(0, 1, (n, 2)), lambda r, n: r.normal(0.3, 1, (n, 2)), 0.09),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_is_honest_where_the_bias_is_small(name):
    """Over 60 repetitions: the jackknife's error is that of the repetitions, or up to twice as large."""
    draw_p, draw_q, truth = CASES[name]
    rng = np.random.default_rng(1)
    estimates = [estimate_kl_from_draws(draw_p(rng, 1000), draw_q(rng, 1000), k=3) for _ in range(60)]
    values, errors = np.array([(e.value, e.standard_error) for e in estimates]).T
    assert abs(values.mean() - truth) < 0.5 * values.std() + 4 * values.std() / np.sqrt(60)
    assert 0.85 < np.sqrt(np.mean(errors**2)) / values.std(ddof=1) < 2
    covered = sum(low <= truth <= high for low, high in (e.interval() for e in estimates))
    assert covered >= 53  # of 57 expected; fewer happen once in 50 times at 95%, and less often at the wider one


def test_more_draws_bring_it_nearer():
    rng = np.random.default_rng(2)
    estimate = estimate_kl_from_draws(rng.normal(size=40_000), rng.normal(1, 1, 40_000))
    assert abs(estimate.value - 0.5) < 3 * estimate.standard_error
    assert estimate.standard_error < 0.02


def test_the_jackknife_is_the_one_by_brute_force():
    rng = np.random.default_rng(3)
    p, q = rng.normal(size=(40, 2)), rng.normal(1, 1, (30, 2))
    without_p = np.array([neighbour_kl(np.delete(p, i, 0), q, 3)[0] for i in range(40)])
    without_q = np.array([neighbour_kl(p, np.delete(q, i, 0), 3)[0] for i in range(30)])
    assert neighbour_kl(p, q, 3)[1] == pytest.approx(np.sqrt(39 * without_p.var() + 29 * without_q.var()), rel=1e-10)


def test_the_distances_are_those_by_brute_force():
    rng = np.random.default_rng(4)
    p, q = rng.normal(size=(40, 3)), rng.normal(1, 1, (30, 3))
    among_p = np.sort(np.linalg.norm(p[:, None] - p, axis=-1), axis=1)[:, 2]
    among_q = np.sort(np.linalg.norm(p[:, None] - q, axis=-1), axis=1)[:, 1]
    expected = 3 * np.log(among_q / among_p).mean() + np.log(30 / 39)
    assert neighbour_kl(p, q, 2)[0] == pytest.approx(expected, rel=1e-12)


def test_many_dimensions_are_biased_and_said_to_be():
    rng = np.random.default_rng(5)
    estimate = estimate_kl_from_draws(rng.normal(size=(2000, 8)), rng.normal(0.5, 1, (2000, 8)))
    assert 1.0 - estimate.value > 3 * estimate.standard_error
    assert "In 8 dimensions the bias is likely to exceed the standard error." in estimate.caveat
    few = estimate_kl_from_draws(rng.normal(size=500), rng.normal(size=400))
    assert "dimensions" not in few.caveat
    assert few.method == "5 nearest neighbours, 500 draws of p and 400 of q"
    assert few.num_draws == 900


def test_an_affine_map_changes_nothing():
    rng = np.random.default_rng(6)
    p, q = rng.normal(size=(300, 2)), rng.normal(0.5, 1, (300, 2))
    matrix = np.array([[1e3, 0.0], [999.0, 1e-2]])
    first, second = estimate_kl_from_draws(p, q), estimate_kl_from_draws(p @ matrix.T + 7, q @ matrix.T + 7)
    assert second.value == pytest.approx(first.value, rel=1e-5)
    bits = estimate_kl_from_draws(p, q, base=2)
    assert (bits.unit, bits.value) == ("bits", pytest.approx(first.value / np.log(2)))


@pytest.mark.parametrize(
    ("p", "q", "options", "words"),
    [
        (np.arange(100.0), np.arange(100.0) + 0.5, {"k": 0}, "k must be"),
        (np.arange(20.0), np.arange(100.0) + 0.5, {}, "p_draws holds 20 draws; 5 neighbours need at least 50"),
        (np.arange(100.0), np.arange(100.0) // 2, {}, "50 rows of q_draws repeat"),
        (np.arange(100.0), np.arange(100.0), {}, "share values"),
        (np.arange(100.0), np.full(100, np.nan), {}, "q_draws holds NaN"),
        (np.random.default_rng(0).normal(size=(100, 2)), np.arange(100.0), {}, "same variables, but have 2 and 1"),
        (np.arange(200.0).reshape(100, 2), np.random.default_rng(0).normal(size=(100, 2)), {}, "lie in a plane"),
        (np.ones((5, 5, 5)), np.ones(5), {}, "p_draws must have shape"),
        (np.arange(100.0), np.arange(100.0) + 0.5, {"base": 10}, "base must be 2"),
    ],
)
def test_nonsense_is_refused(p, q, options, words):
    with pytest.raises(ValueError, match=words):
        estimate_kl_from_draws(p, q, **options)
