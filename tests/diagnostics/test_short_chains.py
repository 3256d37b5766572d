"""Short chains: a kernel that leaves the posterior invariant, what it proves of a q, and what the certificate says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from arviz_stats.base import array_stats
from diagnostics.members import full_rank, member
from diagnostics.right_members import KINDS, right
from scipy import stats
from tiers import exhaustive_after

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics import Limits, check, without_weights
from vi_kl.diagnostics.advice import advice_for
from vi_kl.diagnostics.certificate import need_short_chains
from vi_kl.diagnostics.consistency import find_contradictions
from vi_kl.diagnostics.effort import Effort, effort_for
from vi_kl.diagnostics.errors import Errors, SiteErrors
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.movement import Shift
from vi_kl.diagnostics.short_chains import (
    FORGOTTEN,
    GROUP,
    MOST_GRADIENTS,
    MOVES,
    PIECE,
    Chains,
    nested_r_hat,
    normal_around,
    run_short_chains,
    share_of_the_start,
)
from vi_kl.diagnostics.verdict import blind_spot, verdict_of
from vi_kl.diagnostics.without_reference import View
from vi_kl.diagnostics.without_weights import (
    CHAINS,
    DENSITY,
    UNASKED,
    ShortChains,
    column_names,
    columns,
    judge_by_short_chains,
    num_short_chains,
)
from vi_kl.families import MeanField
from vi_kl.targets import Target
from vi_kl.targets.parameters import Positive


def of_precision(z, precision):
    return -0.5 * z @ precision @ z


def nothing(share):
    pass


@jax.enable_x64(True)
def short_chains_of(q, key, num_chains: int = CHAINS) -> ShortChains:
    keys = jax.random.split(key, 3)
    view = View(q, keys[0], Effort(2048, 0.01))
    return judge_by_short_chains(q, Draws(q, keys[1], 8192), view, keys[2], num_chains, nothing)


# The kernel ------------------------------------------------------------------------------------------------------


@jax.enable_x64(True)
@pytest.mark.landing
def test_chains_take_a_wrong_q_to_the_posteriors_own_means_and_sds(key):
    dim, r = 12, 0.6
    covariance = r * np.ones((dim, dim)) + (1 - r) * np.eye(dim)
    target = Target.from_log_density(of_precision, dim, data=np.linalg.inv(covariance))
    q = member(
        MeanField(), target, loc=np.r_[0.8, np.zeros(dim - 1)], log_scale=np.log(np.r_[0.5, 2.0, np.ones(dim - 2)])
    )
    run = run_short_chains(q, normal_around(q, None), key, 1024, nothing)
    assert abs(run.starts[:, 0].mean() - 0.8) < 4 * 0.5 / 32
    assert run.ends.shape == (1024, dim)
    assert np.abs(run.ends.mean(axis=0)).max() < 4.5 / 32  # sds of 1, and the largest of 12 means
    assert np.abs(run.ends.var(axis=0) - 1).max() < 4.5 * np.sqrt(2) / 32
    assert np.abs(np.corrcoef(run.ends.T)[0, 1:] - r).max() < 4.5 * (1 - r**2) / 32
    own = np.asarray(target.log_density(run.ends))
    np.testing.assert_allclose(run.log_p[2], own, rtol=1e-12)
    moves = run.settings.num_moves * run.settings.num_leapfrogs
    assert moves <= MOST_GRADIENTS
    assert run.gradients == 1024 * (1 + moves) + run.settings.gradients


@jax.enable_x64(True)
def test_a_move_is_reversible_on_a_skewed_posterior(key):
    """Detailed balance: E[f(start) g(end)] is E[g(start) f(end)] for any two functions, if the start is a draw of p."""
    q, dim = right("skewed", 3), 3
    generator, found = np.random.default_rng(0), []
    normal = normal_around(q, generator.gumbel(size=(4096, dim)))
    for i in range(40):
        z = generator.gumbel(size=(PIECE, dim))
        chains = Chains(q.target, normal, z, jax.random.fold_in(key, i))
        chains.run(1.4, 1, 1)  # long steps, of which many are refused
        # Gumbels' minus log density, cut off so that it has light tails, and a place
        (energy, place), (energy_after, place_after) = (
            (np.minimum((x + np.exp(-x)).sum(axis=1), 6.0), np.tanh(x[:, 0])) for x in (z, chains.z)
        )
        found.append([energy_after * place - energy * place_after, energy_after - energy, place_after - place])
        assert 0.3 < chains.acceptance < 0.7
    differences = np.concatenate(found, axis=1)
    errors = differences.std(axis=1) / np.sqrt(differences.shape[1])
    assert np.abs(differences.mean(axis=1) / errors).max() < 4
    assert (differences[2] != 0).mean() > 0.4  # many have moved


def test_nested_r_hat_is_that_of_arviz_for_chains_that_stand_still():
    """ArviZ wants several draws of a chain: with equal ones the variance within chains is 0, as with one."""
    values = np.random.default_rng(0).standard_normal((64, 3)) + np.repeat(np.arange(16), 4)[:, None] / [1e9, 10, 3]
    still = np.repeat(values[:, None], 4, axis=1)
    ids = np.repeat(np.arange(16), 4)
    theirs = [
        array_stats.rhat_nested(still[..., i], ids, method="identity", chain_axis=0, draw_axis=1) for i in range(3)
    ]
    np.testing.assert_allclose(nested_r_hat(values, 4), theirs, rtol=1e-12)


def test_the_share_of_the_start_is_the_intraclass_correlation():
    rng = np.random.default_rng(1)
    starts = np.repeat(rng.standard_normal(PIECE // GROUP * 50), GROUP)
    noise = rng.standard_normal(len(starts))
    for share in (0.2, 0.7):
        values = np.sqrt(share) * starts + np.sqrt(1 - share) * noise
        assert share_of_the_start(values[:, None]) == pytest.approx(share, abs=0.03)
    scales = np.exp(starts) * noise  # the start sets the scale and no place
    assert share_of_the_start(scales[:, None]) > 0.3
    assert share_of_the_start(np.zeros((8, 2))) == 0


# What the chains prove ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", exhaustive_after(1, ["two modes", "funnel"]))
def test_a_right_q_is_not_proved_wrong_and_chains_that_remember_say_so(kind, key):
    found = [short_chains_of(right(kind, 4), jax.random.fold_in(key, i)) for i in range(4)]
    assert sum(bool(c.shifts) or c.kl_at_least > 0 for c in found) <= 1  # two of four at 5% each: 1.4%
    if kind == "two modes":
        assert min(c.memory for c in found) > FORGOTTEN
        assert not any(c.settled for c in found)
        assert all({"z[0]", "z[3]"} <= set(c.stuck) for c in found)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "dim"), [*((kind, 10) for kind in KINDS), ("positive", 10), ("normal", 100)])
def test_false_alarms_are_no_more_than_the_level(kind, dim):
    q, keys = right(kind, dim), 40
    found = [short_chains_of(q, jax.random.key(seed)) for seed in range(keys)]
    most = stats.binom.ppf(0.999, keys, 0.05)
    assert sum(bool(c.shifts) for c in found) <= most
    assert sum(c.kl_at_least > 0 for c in found) <= most


@pytest.mark.exhaustive
def test_bounds_in_a_hundred_dimensions_hold_over_keys():
    """One mean and one sd are wrong: proved nearly always, and by no more than the truth."""
    dim, keys = 100, 20
    target = Target.from_log_density(of_precision, dim, data=np.eye(dim))
    loc, log_scale = np.zeros(dim), np.zeros(dim)
    loc[3], log_scale[5] = 0.4, np.log(1.3)
    q = member(MeanField(), target, loc=loc, log_scale=log_scale)
    found = [short_chains_of(q, jax.random.key(seed)) for seed in range(keys)]
    true = {("z[3]", "mean"): 0.4, ("z[5]", "sd"): np.log(1.3)}
    proved = [{(s.entry, s.what): s.at_least for s in c.of_sites} for c in found]
    assert min(sum(place in each for each in proved) for place in true) >= 18
    assert sum(any(each.get(place, 0) > x for place, x in true.items()) for each in proved) <= 4
    assert np.mean([c.settled for c in found]) > 0.7


def test_chains_on_a_ridge_are_said_to_be_underway(key):
    """A ridge 30 times as long as a narrow q: means move across it first, away from where they are right."""
    precision = np.linalg.inv(np.array([[1.0, 0.9995], [0.9995, 1.0]]))
    target = Target.from_log_density(of_precision, 2, data=precision)
    q = member(MeanField(), target, loc=[0.5, 0.0], log_scale=-0.5 * np.log(np.diag(precision)))
    found = short_chains_of(q, key)
    assert found.num_moves > 2 * MOVES  # the pilots have gone on
    assert found.still_moving
    assert not found.settled
    assert found.shifts


def test_columns_are_sites_as_the_model_sees_them(key):
    with jax.enable_x64(True):
        target = Target.from_log_density(
            lambda x: -0.5 * x["b"] @ x["b"] - x["s"], {"b": np.zeros(2), "s": Positive(1.0)}
        )
        z = np.random.default_rng(0).standard_normal((5, 3))
        assert column_names(target) == ["b[0]", "b[1]", "s", DENSITY]
        np.testing.assert_allclose(columns(target, z, np.arange(5.0))[:, 2:], np.c_[np.exp(z[:, 2]), np.arange(5)])


# The certificate ------------------------------------------------------------------------------------------------


def test_a_certificate_has_them_where_weights_tell_too_little(key):
    figures = {"improper": (), "reverse_kl": Estimate(0.09, 0.01)}
    few, many = (Target.from_log_density(lambda z: -0.5 * z @ z, dim) for dim in (60, 61))
    assert not need_short_chains(figures, few)
    assert need_short_chains(figures, many)
    assert need_short_chains(figures | {"reverse_kl": None}, few)
    assert not need_short_chains(figures | {"reverse_kl": None, "improper": ("z",)}, many)
    assert not need_short_chains(figures | {"reverse_kl": Estimate(0.05, 1e-4)}, many)
    effort = effort_for(few)
    assert num_short_chains(few, effort, asked=False) == UNASKED
    assert num_short_chains(few, effort, asked=True) == CHAINS
    with pytest.raises(TypeError, match="short_chains must be True, False or None"):
        check(member(MeanField(), few, loc=np.zeros(60), log_scale=np.zeros(60)), key=key, short_chains=100)


def test_where_a_gradient_is_dear_they_are_few_or_have_to_be_asked_for():
    def dear(z, x):
        return -0.5 * z @ z + 0 * jnp.sum(jnp.sin(x @ z))

    for rows, number in ((100, UNASKED), (5_000, UNASKED), (10_000, PIECE), (50_000, 0), (200_000, 0)):
        target = Target.from_log_density(dear, 10, data=np.ones((rows, 10)))
        assert num_short_chains(target, effort_for(target), asked=False) == number
    assert num_short_chains(target, effort_for(target), asked=True) == PIECE


def test_where_they_cannot_be_run_asking_for_them_is_refused(key):
    dim = 80_000
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), dim)
    q = member(MeanField(), target, loc=np.zeros(dim), log_scale=np.zeros(dim))
    with pytest.raises(UnsuitableError, match="of dimension 80,000, is too large for"):
        check(q, key=key, num_draws=500, short_chains=True)


def wrong_sd_in_many_dimensions():
    """Log-gammas, which are skewed, in 101 dimensions: more than wider densities are laid beside q for."""
    dim = 101
    variance = 0.6449340668482266  # of the log of a Gamma(2, 1): pi^2 / 6 - 1
    target = Target.from_log_density(lambda z: jnp.sum(2 * z - jnp.exp(z)), dim)
    log_scale = np.full(dim, 0.5 * np.log(variance))
    log_scale[7] += np.log(1.5)
    return member(MeanField(), target, loc=np.full(dim, 0.4227843350984671), log_scale=log_scale)


def test_where_they_were_left_out_for_their_price_the_certificate_says_how_to_ask_for_them(key, monkeypatch):
    q = wrong_sd_in_many_dimensions()
    monkeypatch.setattr(without_weights, "CHEAP", 0.0)  # as if an evaluation were dear
    c = check(q, key=key)
    assert (c.label, c.short_chains, c.chains_were_dear) == ("unknown", None, True)
    assert any("check(fit, short_chains=True, key=key)" in advice for advice in c.try_next)
    refused = check(q, key=key, short_chains=False)
    assert not any("short_chains" in advice for advice in refused.try_next)


@pytest.mark.landing
def test_a_certificate_names_the_sd_that_is_wrong_where_no_weights_are_even(key):
    q = wrong_sd_in_many_dimensions()
    unasked, c = check(q, key=key), check(q, key=key, short_chains=True)
    assert [(s.entry, s.what) for s in unasked.short_chains.of_sites] == [("z[7]", "sd")]
    assert unasked.gradient_evaluations < 50_000
    assert c.label == "unknown"
    assert c.short_chains.settled
    shift = {s.entry: s for s in c.short_chains.of_sites}["z[7]"]
    assert shift.what == "sd"
    assert 0.15 < shift.at_least < np.log(1.5)
    assert f"short chains from q's draws prove, with 95% confidence in all of it, that {shift}" in c.verdict
    assert any("A reparameterisation of z" in advice for advice in c.try_next)
    assert c.contradictions == ()
    assert c.to_dict()["short_chains"]["gradients"] == c.short_chains.gradients > 50_000
    without = check(q, key=key, short_chains=False)
    assert without.short_chains is None
    assert "short chains" not in str(without)
    assert without.elbo == c.elbo  # nothing else depends on them


@pytest.mark.exhaustive
def test_chains_that_leave_q_find_that_it_sits_beside_the_mode(key):
    """Above 60 dimensions no climbs are tried but those from where chains went."""
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 101)
    c = check(full_rank(target, np.full(101, 3.0), 0.05 * np.eye(101)), key=key)
    assert c.short_chains.away == 1
    assert c.climbs > 0
    assert c.is_beside
    assert not c.misses_mode
    assert "q sits beside a mode" in c.verdict


# Words, and figures that contradict each other ---------------------------------------------------------------------


def chains(**changes) -> ShortChains:
    fields = dict(num_chains=1024, num_moves=16, gradients=1000, acceptance=0.8, memory=0.1, still_moving=False,
                  stuck=(), shifts=(), num_shifts=0, mean_within=0.2, sd_within=1.2, kl_at_least=0.0, away=0.0,
                  starts=np.empty((0, 2)))  # fmt: skip
    return ShortChains(**(fields | changes))


def measured(**changes) -> Measurements:
    fields = dict(name="q", source="", elbo=Estimate(0.0), k_hat=0.9, ess=0.01, limits=Limits(0.0, np.inf, 0.95),
                  evidence_limits=Limits(0.0, np.inf, 0.975), family="mean_field", is_mean_field=True,
                  dim=100)  # fmt: skip
    return Measurements(**(fields | changes))


SD = Shift("beta[3]", "sd", 0.4, 0.25)
PAIR = Shift("a and b[0]", "correlation", -0.7, 0.5)


def test_what_is_proved_is_in_the_verdict_and_in_the_advice():
    m = measured(short_chains=chains(shifts=(PAIR, SD), num_shifts=5))
    assert f"prove, with 95% confidence in all of it, that {PAIR}; {SD}; and 3 more such errors." in verdict_of(
        m, "unknown"
    )
    assert any('A family that sees correlation: "full_rank"' in advice for advice in advice_for(m, "unknown"))
    only_sd = advice_for(measured(short_chains=chains(shifts=(SD,), num_shifts=1), is_mean_field=False), "unknown")
    assert any("A reparameterisation of beta" in advice for advice in only_sd)
    nothing_proved = measured(short_chains=chains())
    assert "short chains" not in verdict_of(nothing_proved, "unknown")
    assert "Errors of means up to 0.20 posterior sds, and of sds up to a factor of 1.20," in blind_spot(nothing_proved)


def test_chains_that_are_underway_prove_that_q_is_wrong_but_not_where():
    m = measured(short_chains=chains(shifts=(SD,), num_shifts=1, still_moving=True))
    assert f"q is wrong: as far as they have come, {SD}. They are still underway" in verdict_of(m, "unknown")
    assert "16 moves were too few for them to settle" in blind_spot(m)
    stuck = blind_spot(measured(short_chains=chains(stuck=("a", "b", "c", "d"))))
    assert "whether q is right in a, b, c and 1 more, where short chains moved too little" in stuck


def test_what_the_chains_prove_and_what_weights_deny_is_a_contradiction():
    near = {"reverse_kl": Estimate(0.01, 0.001, "weights"), "errors": None}
    assert find_contradictions(near | {"short_chains": chains(kl_at_least=0.013)}, None, 0.0) == ()
    (sentence,) = find_contradictions(near | {"short_chains": chains(kl_at_least=0.02)}, None, 0.0)
    assert "at least 0.02 nats, and by weights it is 0.01" in sentence
    right_by_weights = Errors(
        {"beta": SiteErrors(np.zeros(4), np.ones(4), np.zeros((3, 4)), 0.01, 0.01)}, 0.0, "weights"
    )
    denied = {"reverse_kl": None, "errors": right_by_weights, "short_chains": chains(shifts=(SD,), num_shifts=1)}
    (sentence,) = find_contradictions(denied, None, 0.0)
    assert f"prove that {SD}, and by weights no mean or sd is off" in sentence
    underway = dataclasses.replace(denied["short_chains"], still_moving=True)
    assert find_contradictions(denied | {"short_chains": underway}, None, 0.0) == ()
    m = measured(short_chains=denied["short_chains"], contradictions=(sentence,), reverse_kl=Estimate(0.001))
    assert any("MCMC" in advice for advice in advice_for(m, "unknown"))


@pytest.mark.landing
def test_numpyro_models_with_constrained_sites_are_judged_in_their_own_space(key):
    def model(y):
        scale = numpyro.sample("scale", dist.HalfNormal(1.0))
        numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        numpyro.sample("y", dist.Normal(0.0, scale), obs=y)

    target = Target.from_numpyro(model, np.ones(40))
    q = member(MeanField(), target, loc=[0.0, 0.0, 0.0, 0.6], log_scale=np.log([1.0, 1.0, 1.0, 0.11]))
    c = check(q, key=key, short_chains=True)
    assert "scale" in {shift.entry for shift in c.short_chains.of_sites}
    assert c.short_chains.worst_correlation == 0
