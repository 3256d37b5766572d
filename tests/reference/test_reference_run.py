"""Reference runs: their figures against closed forms, what they refuse, and what the cache saves."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import digamma, gammaln, polygamma

from vi_kl.core.compilation import compile_clock
from vi_kl.reference import Annealing, Checks, UntrustworthyReference
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, OF_THE_EVIDENCE, complaints, measure
from vi_kl.reference.mcmc.nuts import NUTS, Run, run_nuts
from vi_kl.reference.mcmc.reference_run import reference_run
from vi_kl.targets import Target

SHAPES = np.array([2.0, 5.0])
SMALL = {"num_warmup": 300, "num_draws": 1000, "annealing": Annealing(num_particles=128)}
KEY = jax.random.key(1)
MODULE = sys.modules["vi_kl.reference.mcmc.reference_run"]


def log_gammas(z, data):
    """The logs of two gamma variables, skewed: `away` from zero, and half of their mass turned by `turn`, 1 or -1."""
    rate, away, turn = data

    def one(z):
        return jnp.sum(SHAPES * z - rate * jnp.exp(z))

    return jnp.logaddexp(one(z - away), one(turn * z - away)) - jnp.log(2)


def make(rate: float = 1.0, away: float = 0.0, turn: float = 1.0) -> Target:
    return Target.from_log_density(log_gammas, 2, data=tuple(map(np.array, (rate, away, turn))))


def log_evidence(rate: float = 1.0) -> float:
    return np.sum(gammaln(SHAPES) - SHAPES * np.log(rate))


@pytest.fixture(scope="module")
def reference():
    return reference_run(make(), key=KEY, **SMALL)


@pytest.mark.exhaustive
def test_the_log_evidence_in_two_ways(reference):
    for estimate in (reference.log_evidence, reference.second_opinion):
        low, high = estimate.interval(0.999)
        assert low < log_evidence() < high
    assert reference.log_evidence.standard_error < 0.01
    assert reference.second_opinion.standard_error < 0.1
    assert "bridge" in reference.log_evidence.method
    assert "annealing" in reference.second_opinion.method


@pytest.mark.exhaustive
def test_moments_within_their_own_errors(reference):
    z = reference.moments["z"]
    mean, sd = digamma(SHAPES), np.sqrt(polygamma(1, SHAPES))
    assert 0 < z.error < 0.1
    assert (np.abs(z.mean - mean) / sd < 4 * z.error).all()
    assert (np.abs(z.sd / sd - 1) < 8 * z.error).all()  # skewed: an sd is less precise than a mean


@pytest.mark.landing
def test_what_the_truth_says_of_itself(reference):
    assert reference.source == "reference run"
    assert reference.complaints == ()
    assert not reference.is_exact
    assert reference.chains.shape == (4, 1000, 2)
    assert len(reference.draws(KEY, 10)) == 4000


def test_sample_picks_stored_draws_by_key(reference):
    stored = {tuple(z) for z in reference.chains.reshape(-1, 2)}
    few, again, many = reference.sample(KEY, 100), reference.sample(KEY, 100), reference.sample(KEY, 5000)
    np.testing.assert_array_equal(few, again)
    assert len({tuple(z) for z in few}) > 95  # each at most once, and few steps of the chains stay where they were
    assert {tuple(z) for z in few} | {tuple(z) for z in many} <= stored
    assert not np.array_equal(few, reference.sample(jax.random.key(2), 100))


def test_new_data_compiles_nothing_and_the_same_key_gives_the_same_numbers(reference):
    with compile_clock() as clock:
        again = reference_run(make(), key=KEY, **SMALL)
        other = reference_run(make(3.0), key=KEY, **SMALL)
    assert clock.programs == 0
    np.testing.assert_array_equal(again.chains, reference.chains)
    assert (again.log_evidence, again.second_opinion) == (reference.log_evidence, reference.second_opinion)
    low, high = other.log_evidence.interval(0.999)
    assert low < log_evidence(3.0) < high


def test_a_hit_is_identical_quick_and_compiles_nothing(reference, tmp_path, monkeypatch):
    stored = reference_run(make(), key=KEY, cache=tmp_path, **SMALL)
    for name in ("run_nuts", "cross_bridge", "anneal", "constrain_in_chunks"):
        monkeypatch.delattr(MODULE, name)  # none of them is called
    start = time.perf_counter()
    with compile_clock() as clock:
        hit = reference_run(make(), key=KEY, cache=tmp_path, **SMALL)
    assert time.perf_counter() - start < 1
    assert clock.programs == 0
    np.testing.assert_array_equal(hit.chains, reference.chains)
    for name in ("log_evidence", "second_opinion", "complaints", "source"):
        assert getattr(hit, name) == getattr(stored, name) == getattr(reference, name)
    for one, other in ((hit, stored), (hit, reference)):
        np.testing.assert_array_equal(one.moments["z"].mean, other.moments["z"].mean)
        np.testing.assert_array_equal(one.moments["z"].sd, other.moments["z"].sd)
        assert one.moments["z"].error == other.moments["z"].error


@pytest.mark.landing
def test_other_data_or_settings_are_a_miss(tmp_path):
    counts = []
    for rate, settings in ((1.0, {}), (2.0, {}), (1.0, {"target_accept_prob": 0.9}), (1.0, {})):
        reference_run(make(rate), key=KEY, cache=tmp_path, **SMALL | settings)
        counts.append(len(list(tmp_path.glob("*.npz"))))
    assert counts == [2, 4, 6, 6]


def test_chains_that_disagree_are_refused_before_any_evidence_is_computed(monkeypatch, tmp_path):
    def too_soon(*_):
        raise AssertionError("an evidence was computed from chains that failed")

    target = make(away=8.0, turn=-1.0)
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "cross_bridge", too_soon)
        with pytest.raises(UntrustworthyReference, match=r"R-hat is .* in z.*should be at most 1.0100") as error:
            reference_run(target, key=KEY, cache=tmp_path, **SMALL)
    assert any("num_warmup" in sentence for sentence in error.value.complaints)
    kept = reference_run(target, key=KEY, cache=tmp_path, on_failure="keep", **SMALL)
    assert set(error.value.complaints) <= set(kept.complaints)
    # the limits are no part of the cached run: with others, it passes
    lax = Checks(max_r_hat=99, min_ess=1, max_disagreement=1e9)
    assert reference_run(target, key=KEY, cache=tmp_path, checks=lax, **SMALL).complaints == ()


def autoregression(correlation, seed=0, chains=4, length=4000):
    noise = np.random.default_rng(seed).normal(size=(chains, length))
    return lfilter([np.sqrt(1 - correlation**2)], [1, -correlation], noise, axis=1)


def test_the_figures_are_what_they_are_called():
    """Against what is known of autoregressions, and of a chain moved by one sd."""
    z = np.stack([autoregression(0.0), autoregression(0.6, 1)], axis=-1)
    z[0, :, 0] += 1.0
    diverging = np.zeros((4, 4000), bool)
    diverging[1, :16] = True
    figures = measure(Run(autoregression(0.9, 2), diverging, diverging, z, diverging))
    # one of four chains moved by d: variance between them d^2 3/16 4/3, so that R-hat is sqrt(1 + d^2 / 4)
    assert abs(figures["r_hat"][0] - np.sqrt(1.25)) < 0.03
    assert figures["r_hat"][1] < 1.01
    assert abs(figures["ess_bulk"][1] / (16_000 * 0.4 / 1.6) - 1) < 0.15
    assert figures["divergent_share"] == 0.001
    # E-BFMI of an AR(1): E (change^2) / variance = 2 (1 - correlation), the smallest of four chains a little less
    assert abs(figures["e_bfmi"] - 0.2) < 0.04


def test_each_failed_check_is_a_sentence_with_figure_limit_and_remedy():
    good = {
        "r_hat": np.array([1.0, 1.001]),
        "ess_bulk": np.array([4000.0, 900.0]),
        "ess_tail": np.array([4000.0, 900.0]),
        "divergent_share": 0.0,
        "e_bfmi": 0.9,
        "chains_apart": 1.0,
        "methods_apart": 1.0,
    }
    kinds = OF_THE_CHAINS | OF_THE_EVIDENCE
    assert complaints(good, Checks(), kinds, ("mu", "tau")) == ()
    for name, bad, figure in (
        ("r_hat", np.array([1.0, 1.05]), "1.0500 in tau"),
        ("r_hat", np.array([1.0, np.nan]), "nan in tau"),
        ("ess_bulk", np.array([99.0, 900.0]), "99 in mu"),
        ("ess_tail", np.array([99.0, 900.0]), "99 in mu"),
        ("divergent_share", 0.01, "1.000%"),
        ("e_bfmi", 0.1, "0.10"),
        ("chains_apart", 5.0, "5.0"),
        ("methods_apart", 5.0, "5.0"),
    ):
        (sentence,) = complaints(good | {name: bad}, Checks(), kinds, ("mu", "tau"))
        assert figure in sentence
        assert "should be at" in sentence


def test_progress_is_told_and_ends_at_one():
    told = []
    reference_run(make(), key=KEY, progress=lambda share, words: told.append((share, words)), **SMALL)
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {"NUTS warming up", "NUTS sampling", "bridge sampling", "annealing", "done"} == {words for _, words in told}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_chains": 1}, "num_chains"),
        ({"num_draws": 10}, "num_draws"),
        ({"num_warmup": 0}, "num_warmup"),
        ({"target_accept_prob": 1.0}, "target_accept_prob"),
        ({"on_failure": "ignore"}, "on_failure"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        reference_run(make(), key=KEY, **settings)


def test_lengths_that_fill_no_piece():
    """411 steps in pieces of 250: the draws are those after the warm-up, all of them."""
    run = run_nuts(make(), NUTS(num_warmup=300, num_draws=111), KEY)
    assert run.z.shape == (4, 111, 2)
    assert run.energy.shape == run.diverging.shape == run.num_steps.shape == (4, 111)
    assert (run.num_steps > 0).all()
    # each trajectory has at least one step, and at most 2^10
    assert 4 * 300 <= run.warm_up <= 4 * 300 * 1024
    assert run.gradients == run.num_steps.sum()
    assert len(np.unique(run.z[..., 0])) > 300
