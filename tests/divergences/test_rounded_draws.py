"""Draws that coincide by rounding are no Markov chain; those of one that repeat are refused in any precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from vi_kl.divergences import estimate_kl_from_draws
from vi_kl.divergences.estimators.rounding import precision_of, rounding_of

NORMAL = 0.5**2 / 2  # KL between unit normals half apart


def coincidences(draws):
    _, counts = np.unique(draws, axis=0, return_counts=True)
    return (counts * (counts - 1)).sum() / 2


@pytest.mark.divergences
@pytest.mark.parametrize("k", [1, 5])
def test_jax_draws_in_float32_are_taken_as_they_are(k):
    for seed in range(5):
        p, q = (jax.random.normal(jax.random.key(2 * seed + i), (20_000,)) for i in (0, 1))
        assert coincidences(np.asarray(p)) > 0
        estimate = estimate_kl_from_draws(p, q + 0.5, k=k)
        assert abs(estimate.value - NORMAL) < 4 * estimate.standard_error


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: jax.random.exponential(key, (10_000,)),
        lambda key: 100 + jax.random.normal(key, (10_000,)),  # steps of 2^-17 between numbers of this size
        lambda key: jnp.exp(3 * jax.random.normal(key, (10_000,))),
        lambda key: jax.random.normal(key, (10_000,), dtype=jnp.float16),
        lambda key: np.asarray(jax.random.normal(key, (10_000,)), dtype=np.float64),
        lambda key: np.round(np.asarray(jax.random.normal(key, (10_000,)), dtype=np.float64), 3),
    ],
    ids=["exponential", "offset", "lognormal", "float16", "float32 held in float64", "three decimals"],
)
def test_two_sets_of_one_distribution_differ_by_nothing(draw):
    estimate = estimate_kl_from_draws(draw(jax.random.key(0)), draw(jax.random.key(1)))
    assert abs(estimate.value) < 4 * estimate.standard_error


def test_as_many_coincidences_are_expected_as_there_are():
    """Of uniform numbers in float32, n^2 / 2^24 pairs; of numbers around 1,000, some 2^-14 apart, more."""
    for draws in (
        jax.random.uniform(jax.random.key(1), (60_000,)),
        1000 + jax.random.normal(jax.random.key(2), (9000,)),
    ):
        rounding = rounding_of(np.asarray(draws, dtype=float)[:, None], precision_of(draws))
        expected = 0.5 * len(draws) * rounding.chances.sum()
        assert abs(coincidences(np.asarray(draws)) - expected) < 4 * np.sqrt(expected) + 0.05 * expected


def markov_chain(rng, moves: float, n: int):
    stays = np.cumsum(rng.random(n) < moves)
    return rng.normal(size=n + 1).astype(np.float32)[stays]


@pytest.mark.parametrize("moves", [0.3, 0.99, 0.999])
def test_a_chain_that_rejected_is_refused(moves):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"rows of p_draws repeat others.* Thin a Markov chain"):
        estimate_kl_from_draws(markov_chain(rng, moves, 10_000), rng.normal(size=1000))


def test_repetitions_that_are_no_rounding_are_refused():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=3000)
    with pytest.raises(ValueError, match=r"rounding to float64 explains about 1e-"):
        estimate_kl_from_draws(np.append(draws, draws[7]), rng.normal(size=1000))
    with pytest.raises(ValueError, match="rows of q_draws repeat others"):
        estimate_kl_from_draws(draws, rng.choice(draws.astype(np.float32), 3000))
    with pytest.raises(ValueError, match="share values"):
        estimate_kl_from_draws(
            draws.astype(np.float32), np.append(draws[:100], rng.normal(size=900)).astype(np.float32)
        )
    with pytest.raises(ValueError, match="too coarsely, to bfloat16"):
        estimate_kl_from_draws(jax.random.normal(jax.random.key(0), (2000,), jnp.bfloat16), draws)


def test_columns_of_two_frames_are_matched_by_name():
    rng = np.random.default_rng(2)
    p = pd.DataFrame(rng.normal(size=(500, 2)) * [1, 10], columns=["a", "b"])
    q = pd.DataFrame(rng.normal(size=(500, 2)) * [1, 10], columns=["a", "b"])
    assert estimate_kl_from_draws(p, q[["b", "a"]]) == estimate_kl_from_draws(p, q)
    with pytest.raises(ValueError, match="p_draws has the columns 'a', 'b' and q_draws 'a', 'c'"):
        estimate_kl_from_draws(p, q.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match="p_draws has 1 masked entries"):
        estimate_kl_from_draws(np.ma.array(p["a"], mask=np.arange(500) == 3), q["a"])
