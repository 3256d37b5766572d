"""`sample`: draws against closed forms and quadrature, over seeds; what it refuses, and what it costs."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma, gammaln, polygamma

import vi_kl
from vi_kl.core.compilation import compile_clock
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.scales import Triangular
from vi_kl.families import Approximation, FullRank, Skewed
from vi_kl.families.gaussian import full_rank_params
from vi_kl.reference import UntrustworthyReference, reference_by_quadrature
from vi_kl.reference.mcmc.started_nuts import Chains, Coordinates, Whitened
from vi_kl.workflows.sampling.start import Noise, is_bent, pick, start_from

MEAN = np.array([1.0, -2.0, 0.5])
TRIL = np.array([[2.0, 0.0, 0.0], [1.8, 0.5, 0.0], [-0.03, 0.02, 0.01]])
SHAPES = np.array([2.0, 5.0, 1.5])
LOG_EVIDENCE = 1.5 * np.log(2 * np.pi) + np.log(np.diag(TRIL)).sum()
KINDS = ("normal", "skewed", "funnel", "two modes")


def density(z, data):
    """One of four densities, so that one program serves them all."""
    kind, mean, precision_tril = data
    values = (
        -0.5 * jnp.sum((precision_tril @ (z - mean)) ** 2),
        jnp.sum(SHAPES * z - jnp.exp(z)),
        -0.5 * (z[0] / 3) ** 2 - 0.5 * jnp.sum(z[1:] ** 2) * jnp.exp(-z[0]) - z[0],
        jnp.logaddexp(-0.5 * jnp.sum((z + 8.0) ** 2), -0.5 * jnp.sum((z - 8.0) ** 2)),
    )
    return jnp.select([kind == i for i in range(4)], values)


def make(kind="normal", mean=MEAN) -> vi_kl.Target:
    return vi_kl.Target.from_log_density(
        density, 3, data=(np.array(KINDS.index(kind)), np.array(mean), np.linalg.inv(TRIL))
    )


def normal_q(target, loc, tril) -> Approximation:
    return Approximation(FullRank(), full_rank_params(np.asarray(loc, float), np.asarray(tril, float)), target)


def near_miss(target) -> Approximation:
    """A normal of twice the posterior's variances, half an sd off."""
    return normal_q(target, MEAN + 0.5 * np.sqrt((TRIL**2).sum(axis=1)), np.sqrt(2) * TRIL)


@pytest.fixture(scope="module")
def runs():
    """Results with 20 keys, all from one q that is somewhat off."""
    q = near_miss(make())
    return [vi_kl.sample(q, key=seed, num_draws=250, on_failure="keep", progress=False) for seed in range(20)]


def require_right_errors(errors):
    """Independent errors, in standard errors: centred on zero, of sd one, within a tenth for the errors' own errors."""
    errors = np.ravel(errors)
    assert abs(errors.mean()) < 4 / np.sqrt(len(errors))
    assert abs(np.sqrt((errors**2).mean()) - 1) < 4 / np.sqrt(2 * len(errors)) + 0.1


@pytest.mark.landing
def test_means_of_a_correlated_normal_have_the_errors_that_they_say(runs):
    """In whitened coordinates, where the three errors of a run are independent; `error` is that of the worst entry."""
    errors = [np.linalg.solve(TRIL, run.moments["z"].mean - MEAN) / run.moments["z"].error for run in runs]
    assert abs(np.mean(errors)) < 4 / np.sqrt(60)
    assert 0.5 < np.sqrt(np.mean(np.square(errors))) < 1.2
    spread = np.mean([np.cov(np.linalg.solve(TRIL, run.chains.reshape(-1, 3).T)) for run in runs], axis=0)
    np.testing.assert_allclose(spread, np.eye(3), atol=5 * np.sqrt(2 / sum(run.ess for run in runs)))


def test_the_evidence_is_bridged_from_q_with_the_error_that_it_says(runs):
    for run in runs:
        assert run.log_evidence.method.startswith("bridge sampling from full_rank")
        assert 0 < run.log_evidence.standard_error < 0.1
    require_right_errors([(run.log_evidence.value - LOG_EVIDENCE) / run.log_evidence.standard_error for run in runs])


def test_most_runs_pass_and_what_they_say_of_the_fit(runs):
    assert sum(not run.complaints for run in runs) >= 18
    assert all(run.errors.notable for run in runs)
    assert all(abs(run.errors.worst_mean - 0.5) < 0.15 for run in runs)
    assert all(abs(run.errors.worst_sd - np.sqrt(2)) < 0.2 for run in runs)
    assert re.search(r"means are off by up to 0\.[45]\d* posterior sd", runs[0].fit_in_words)


def test_a_result_in_words_and_numbers(runs):
    run = runs[0]
    assert run.source == "run started from a fit"
    assert run.chains.shape == (4, 250, 3)
    assert run.sites["z"].shape == (1000, 3)
    assert run.cost.gradient_evaluations == run.warm_up.gradient_evaluations + run.drawing.gradient_evaluations
    assert run.cost.density_evaluations == 8192
    assert repr(run).startswith("<PosteriorSample: from full_rank, 4 chains of 250 draws")
    assert "no other mode" in str(run)
    assert "gradients of warm-up" in run._repr_html_()


def test_new_data_compiles_nothing_and_the_same_key_gives_the_same_numbers(runs):
    target = make(mean=MEAN + 1.0)
    with compile_clock() as clock:
        again = vi_kl.sample(near_miss(make()), key=0, num_draws=250, progress=False)
        other = vi_kl.sample(near_miss(target), key=0, num_draws=250, on_failure="keep", progress=False)
    assert clock.programs == 0
    np.testing.assert_array_equal(again.chains, runs[0].chains)
    assert again.log_evidence == runs[0].log_evidence
    # that q is a hundred sds off along the third axis, where no bridge from it holds
    assert "reference chains" in other.log_evidence.method
    assert abs(other.log_evidence.value - LOG_EVIDENCE) < 4 * other.log_evidence.standard_error < 0.4
    assert (np.abs(other.moments["z"].mean - MEAN - 1) < 5 * other.moments["z"].error * other.moments["z"].sd).all()


def test_it_goes_on_until_the_effective_size_is_reached():
    run = vi_kl.sample(near_miss(make()), key=1, ess=1500, progress=False)
    assert run.ess >= 1500
    assert 1.3 * 1500 / 4 <= run.chains.shape[1] <= 6 * 1.3 * 1500 / 4


@pytest.mark.landing
def test_a_certificate_takes_it_as_its_reference(runs):
    q = near_miss(make())
    certificate = vi_kl.check(q, runs[0], key=0, progress=False)
    # KL of the normals by its closed form: log of the sds' ratio, variances and squared distance
    shift = np.linalg.solve(TRIL, q.params["loc"] - MEAN)
    kl = 0.5 * (3 * (2 - 1 - np.log(2)) + shift @ shift)
    low, high = certificate.reverse_kl.interval(0.999)
    assert certificate.source == "run started from a fit"
    assert low < kl < high


@pytest.mark.parametrize("family", ["laplace", pytest.param("skewed", marks=pytest.mark.exhaustive)])
def test_a_skewed_posterior_against_its_closed_form(family):
    """In the coordinates of a normal, and in the noise of a skewed q."""
    target = make("skewed")
    mean, sd = digamma(SHAPES), np.sqrt(polygamma(1, SHAPES))
    fit = vi_kl.fit(target, family, key=0, progress=False)
    errors, evidences = [], []
    for seed in range(10):
        run = vi_kl.sample(fit, key=seed, num_draws=300, on_failure="keep", progress=False)
        z = run.moments["z"]
        errors.append((z.mean - mean) / sd / z.error)
        evidences.append((run.log_evidence.value - gammaln(SHAPES).sum()) / run.log_evidence.standard_error)
        assert (np.abs(z.sd / sd - 1) < 6 * z.error).all()
        assert run.warm_up.gradient_evaluations < 4 * 50 * 10
    assert abs(np.mean(errors)) < 4 / np.sqrt(30)
    assert 0.4 < np.sqrt(np.mean(np.square(errors))) < 1.4
    assert np.sqrt(np.mean(np.square(evidences))) < 1 + 4 / np.sqrt(20)


@pytest.mark.exhaustive
def test_a_skewed_posterior_against_quadrature():
    def log_gamma(z):
        return jnp.sum(SHAPES[:1] * z - jnp.exp(z))

    target = vi_kl.Target.from_log_density(log_gamma, 1)
    known = reference_by_quadrature(target)
    run = vi_kl.sample(vi_kl.fit(target, key=0, progress=False), key=0, ess=4000, progress=False)
    one, other = run.moments["z"], known.moments["z"]
    assert abs(one.mean - other.mean) < 4 * one.error * other.sd
    assert abs(one.sd / other.sd - 1) < 6 * one.error
    assert run.log_evidence.agrees_with(known.log_evidence, 4.0)


@in_float64
def test_the_volumes_of_the_noise_and_of_whitened_coordinates_are_jacobians():
    target, generator = make(), np.random.default_rng(0)
    skewed = Skewed().init(jax.random.key(0), target)
    skewed = jax.tree.map(lambda x: np.asarray(x) + 0.3 * generator.normal(size=np.shape(x)), skewed)
    bent, straight = Approximation(Skewed(), skewed, target), near_miss(target)
    assert is_bent(bent)
    assert not is_bent(straight)
    inner = Gaussian(generator.normal(size=3), Triangular(TRIL))
    for chart in (Noise(bent), Whitened(straight.family.frame(straight.params).normal)):
        jacobian_and_volume = jax.jit(jax.jacfwd(Coordinates(target, chart, inner).place, has_aux=True))
        for v in generator.normal(size=(3, 3)):
            jacobian, volume = jacobian_and_volume(v)
            np.testing.assert_allclose(volume, np.linalg.slogdet(np.asarray(jacobian))[1], atol=1e-9)


def test_a_poor_metric_is_mended():
    """From independent normals with scales thirty times too small and too large, steps become as short as they can."""
    target = make()
    q = normal_q(target, MEAN, np.diag(np.sqrt((TRIL**2).sum(axis=1)) * [0.03, 1.0, 0.1]))
    run = vi_kl.sample(q, key=0, num_draws=300, on_failure="keep", progress=False)
    assert run.drawing.gradient_evaluations / 1200 < 8
    assert (np.abs(run.moments["z"].mean - MEAN) < 5 * run.moments["z"].error * run.moments["z"].sd).all()


@in_float64
def test_gradients_are_counted():
    target, q = make(), near_miss(make())
    start = start_from(q, jax.random.key(0), 4)
    chains = Chains(start.coordinates, start.v, jax.random.key(1), 0.8)
    records = chains.run(300, adapting=True)
    assert records.z.shape == (4, 300, target.dim)
    assert chains.gradients == records.num_steps.sum() + 4
    # the density and the place that are kept with a draw belong to it
    log_p = np.asarray(target.log_density(records.z.reshape(-1, 3)))
    np.testing.assert_allclose(records.log_p.ravel(), log_p, atol=1e-9)


def test_a_funnel_is_no_success():
    target = make("funnel")
    q = normal_q(target, np.zeros(3), 0.5 * np.eye(3))
    with pytest.raises(UntrustworthyReference, match="run started from a fit of Target") as error:
        vi_kl.sample(q, key=0, progress=False)
    kept = vi_kl.sample(q, key=0, on_failure="keep", progress=False)
    assert set(error.value.complaints) <= set(kept.complaints)
    assert "checks failed" in repr(kept)
    certificate = vi_kl.check(q, kept, key=0, progress=False)
    assert certificate.label == "unknown"


def test_a_mode_that_the_certificate_found_is_started_from():
    """Without it, the chains agree with each other, and the result says what that does not show."""
    target = make("two modes")
    q = normal_q(target, np.full(3, 8.0), np.eye(3))
    blind = vi_kl.sample(q, key=0, ess=400, progress=False)
    assert blind.complaints == ()
    assert "does not show that no other mode is there" in blind.start
    certificate = vi_kl.check(q, key=0, progress=False)
    assert certificate.misses_mode
    with pytest.raises(UntrustworthyReference, match="R-hat"):
        vi_kl.sample(q, key=0, ess=400, certificate=certificate, progress=False)
    kept = vi_kl.sample(q, key=0, ess=400, certificate=certificate, on_failure="keep", progress=False)
    assert "at modes that the certificate found" in kept.start
    assert (kept.chains[:, :, 0] < 0).all(axis=1).sum() == 1


@pytest.mark.landing
def test_certificates_offer_it():
    target = make("funnel")
    q = normal_q(target, np.zeros(3), 0.5 * np.eye(3))
    certificate = vi_kl.check(q, key=0, progress=False)
    unknown = dataclasses.replace(certificate, source="", reverse_kl=None, missed_modes=(), misses_mode=False)
    assert any("vi_kl.sample(fit, key=key)" in advice for advice in unknown.try_next)


def test_starting_points_are_drawn_by_weight_without_repeats():
    weights, generator = np.array([0.5, 0.2, 0.2, 0.1, 0.0]), np.random.default_rng(0)
    picked = np.array([pick(weights, 2, generator) for _ in range(4000)])
    assert (picked[:, 0] != picked[:, 1]).all()
    np.testing.assert_allclose(np.bincount(picked[:, 0], minlength=5) / 4000, weights, atol=4 * 0.5 / np.sqrt(4000))
    assert sorted(pick(weights, 4, generator)) == [0, 1, 2, 3]
    assert set(pick(np.array([1.0, 0.0, 0.0]), 3, generator)) == {0}


def test_progress_is_told_and_ends_at_one():
    told = []
    q = near_miss(make())
    vi_kl.sample(q, key=0, num_draws=250, progress=lambda share, words: told.append((share, words)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (1.0, "done")
    assert {"warming up", "sampling"} <= {words for _, words in told}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_chains": 1}, "num_chains"),
        ({"num_draws": 10}, "num_draws"),
        ({"ess": 0}, "ess must be positive"),
        ({"target_accept_prob": 1.0}, "target_accept_prob"),
        ({"on_failure": "ignore"}, "on_failure"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        vi_kl.sample(near_miss(make()), key=0, **settings)


def test_points_have_no_width_to_start_from():
    fit = vi_kl.fit(make(), "map", key=0, progress=False)
    with pytest.raises(vi_kl.ViKLError, match="laplace"):
        vi_kl.sample(fit, key=0)
