"""Sequential Monte Carlo against closed forms: mixtures, a skewed target, and symmetries of a model's labels."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import digamma, gammaln, polygamma

from vi_kl.reference import (
    Checks,
    StartingDensity,
    UntrustworthyReference,
    find_reference,
    log_evidence_by_bridge,
    reference_by_smc,
    reference_run,
)
from vi_kl.reference.mcmc.checks import OF_THE_CHAINS, OF_THE_POPULATIONS, complaints
from vi_kl.reference.mcmc.smc import Arrived
from vi_kl.reference.mcmc.smc_reference import figures_of, outlying, shares_of_modes
from vi_kl.reference.mcmc.smc_start import MixtureStart, broad_start, climb_from
from vi_kl.targets import Target

WEIGHTS = np.array([0.2, 0.5, 0.3])
SDS = np.array([0.6, 1.0, 1.3])
SHAPES = np.array([0.8, 1.5, 3.0, 5.0, 8.0, 20.0])
SMALL = {"num_populations": 8, "num_particles": 128}


def mixture(z, data):
    """The log density of normals that know no direction, each with its mean, sd and weight: its evidence is one."""
    means, sds, weights = data
    squares = jnp.sum(((z - means) / sds[:, None]) ** 2, axis=-1)
    return jax.nn.logsumexp(jnp.log(weights) - 0.5 * squares - len(z) * (jnp.log(sds) + 0.5 * jnp.log(2 * jnp.pi)))


def mixture_target(dim: int) -> tuple[Target, np.ndarray]:
    """A mixture of three normals that are six from the origin, each in a direction of its own; and their means."""
    means = np.random.default_rng(dim).standard_normal((3, dim))
    means *= 6 / np.linalg.norm(means, axis=1, keepdims=True)
    return Target.from_log_density(mixture, dim, data=(means, SDS, WEIGHTS)), means


def log_gammas(z):
    return jnp.sum(SHAPES * z - jnp.exp(z))


def unordered(y):
    """A mixture of two normals whose labels can be exchanged."""
    weight = numpyro.sample("weight", dist.Beta(2, 2))
    means = numpyro.sample("means", dist.Normal(0, 3).expand([2]).to_event(1))
    sds = numpyro.sample("sds", dist.LogNormal(0, 0.5).expand([2]).to_event(1))
    mixing = dist.Categorical(jnp.stack([weight, 1 - weight]))
    numpyro.sample("y", dist.MixtureSameFamily(mixing, dist.Normal(means, sds)).expand([len(y)]), obs=y)


def mixture_data() -> np.ndarray:
    generator = np.random.default_rng(3)
    return np.concatenate([generator.normal(-2, 0.6, 30), generator.normal(1.5, 1, 50)])


def test_a_mixture_of_three_normals():
    """Evidence, shares and means within their own errors, which are those of eight populations."""
    target, means = mixture_target(4)
    reference = reference_by_smc(target, key=1, **SMALL)
    assert reference.source == "sequential Monte Carlo"
    assert reference.complaints == ()
    low, high = reference.log_evidence.interval(0.999)
    assert low < 0 < high
    assert reference.log_evidence.standard_error < 0.1
    order = [1, 2, 0]
    np.testing.assert_allclose([mode.z for mode in reference.modes], means[order], atol=0.01)
    for mode, weight in zip(reference.modes, WEIGHTS[order], strict=True):
        low, high = mode.share.interval(0.999)
        assert low < weight < high
    z, mean = reference.moments["z"], WEIGHTS @ means
    variance = WEIGHTS @ (means**2 + SDS[:, None] ** 2) - mean**2
    assert (np.abs(z.mean - mean) / np.sqrt(variance) < 5 * z.error).all()
    np.testing.assert_allclose(z.sd, np.sqrt(variance), rtol=0.1)  # its error, of particles worth some 400 draws
    assert reference.chains.shape == (8, 128, 4)
    assert reference.gradients > 2 * 8 * 128
    assert "8 populations of 128" in reference.log_evidence.method


def is_t_distributed(errors: list[float]) -> bool:
    """Whether errors in units of their standard errors, from 16 populations, are so, in both tails and between."""
    found = stats.t.cdf(errors, 15)
    outside = np.sum(np.abs(found - 0.5) > 0.475)
    return stats.kstest(found, "uniform").pvalue > 0.01 and outside <= stats.binom(len(found), 0.05).ppf(0.999)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dim", [4, 10])
def test_the_errors_of_a_mixture_are_those_that_it_says(dim):
    """Over keys, from scratch: of the log evidence, the first coordinate's mean, and the narrow mode's share."""
    target, means = mixture_target(dim)
    errors: dict[str, list[float]] = {"evidence": [], "mean": [], "share": []}
    for seed in range(24):
        reference = reference_by_smc(target, key=seed, on_failure="keep", num_particles=256)
        errors["evidence"].append(reference.log_evidence.value / reference.log_evidence.standard_error)
        first = reference.chains[..., 0].mean(axis=1)
        errors["mean"].append((first.mean() - WEIGHTS @ means[:, 0]) / stats.sem(first))
        narrow = min(reference.modes, key=lambda mode: np.linalg.norm(mode.z - means[0])).share
        errors["share"].append((narrow.value - WEIGHTS[0]) / narrow.standard_error)
    assert {name: is_t_distributed(found) for name, found in errors.items()} == dict.fromkeys(errors, True)


@pytest.mark.exhaustive
def test_the_errors_of_a_skewed_target_are_those_that_it_says():
    target, errors = Target.from_log_density(log_gammas, len(SHAPES)), []
    for seed in range(24):
        evidence = reference_by_smc(target, key=seed, on_failure="keep", num_particles=256).log_evidence
        errors.append((evidence.value - gammaln(SHAPES).sum()) / evidence.standard_error)
    assert is_t_distributed(errors)


@pytest.mark.exhaustive
def test_moments_of_a_skewed_target():
    reference = reference_by_smc(Target.from_log_density(log_gammas, len(SHAPES)), key=0)
    z, mean, sd = reference.moments["z"], digamma(SHAPES), np.sqrt(polygamma(1, SHAPES))
    assert reference.complaints == ()
    assert len(reference.modes) == 1
    assert (np.abs(z.mean - mean) / sd < 4 * z.error).all()
    assert (np.abs(z.sd / sd - 1) < 8 * z.error).all()  # skewed: an sd is less precise than a mean


@pytest.mark.exhaustive
def test_both_labelings_of_a_mixture_weigh_a_half():
    """By symmetry; and the evidence is twice that of one labeling, which bridge sampling knows."""
    target = Target.from_numpyro(unordered, mixture_data())
    reference = reference_by_smc(target, key=0)
    assert reference.complaints == ()
    chains = reference.chains
    sites = target.constrain(jnp.asarray(chains.reshape(-1, target.dim)))
    one_way = (np.asarray(sites["means"])[:, 0] < np.asarray(sites["means"])[:, 1]).reshape(chains.shape[:2])
    assert abs(one_way.mean() - 0.5) < 4 * stats.sem(one_way.mean(axis=1)) < 0.1
    assert [mode.share.value for mode in reference.modes[:2]] == pytest.approx([0.5, 0.5], abs=0.06)
    # the modes are so far apart that no chain of NUTS crosses, and one that stays in its labeling knows half of it
    run = reference_run(target, key=jax.random.key(0), on_failure="keep", num_draws=1000)
    ways = np.asarray(target.constrain(jnp.asarray(run.chains.reshape(-1, target.dim)))["means"])
    ways = (ways[:, 0] < ways[:, 1]).reshape(run.chains.shape[:2])
    assert all(np.ptp(ways.astype(int), axis=1) == 0)
    half = log_evidence_by_bridge(target, run.chains[ways.all(axis=1) == ways[0, 0]], key=jax.random.key(1))
    assert reference.log_evidence.agrees_with(dataclasses.replace(half, value=half.value + np.log(2)), 4.0)


@pytest.mark.exhaustive
def test_it_takes_the_place_of_chains_that_do_not_agree():
    target, _ = mixture_target(4)
    reference = find_reference(target)
    assert reference.source == "sequential Monte Carlo"
    assert any("R-hat is" in sentence for sentence in reference.instead_of)
    assert "in place of a run of NUTS: R-hat is" in str(reference)
    low, high = reference.log_evidence.interval(0.999)
    assert low < 0 < high


def test_what_find_reference_does_about_chains_that_fail(monkeypatch):
    """It is asked where R-hat fails, in up to 20 dimensions; what fails in both ways tells of both."""
    module = sys.modules["vi_kl.reference.find"]
    apart, short = "R-hat is 1.9000 in z[0]: the chains do not agree.", "E-BFMI is 0.10: too low."

    def fails(target, *, key, cache, progress, complaint=apart, also=()):
        raise UntrustworthyReference(target, (complaint, *also))

    monkeypatch.setattr(module, "reference_run", fails)
    monkeypatch.setattr(module, "reference_by_smc", functools.partial(reference_by_smc, **SMALL))
    target, _ = mixture_target(4)
    found = find_reference(target, key=1)
    assert found.instead_of == (apart,)
    with pytest.raises(UntrustworthyReference) as error:
        find_reference(target, key=1, complaint=short)
    assert error.value.complaints == (short,)
    diverging = f"{OF_THE_CHAINS['divergent_share'].words} is 3%: a funnel."
    with pytest.raises(UntrustworthyReference, match="failed 2 of"):  # a funnel, which is no case for it
        find_reference(target, key=1, also=(diverging,))
    with pytest.raises(UntrustworthyReference, match="failed 1 of"):
        find_reference(Target.from_log_density(lambda z: jnp.sum(z - jnp.exp(z)), 21), key=1)

    def fails_too(target, **_):
        raise UntrustworthyReference(target, ("The relative error of the evidence is 0.3.",))

    monkeypatch.setattr(module, "reference_by_smc", fails_too)
    with pytest.raises(UntrustworthyReference, match="Sequential Monte Carlo in its place: The relative") as error:
        find_reference(target, key=1)
    assert error.value.complaints[0] == apart


def arrived(z: np.ndarray, log_z: np.ndarray, memory: float = 0.05) -> Arrived:
    """Populations that were made up, with the modes of the mixture in four dimensions."""
    target, means = mixture_target(4)
    with jax.enable_x64(True):
        modes, _ = climb_from(target, means, [])
    return Arrived(z, log_z, np.array([memory]), modes, 1)


def exact_populations(seed: int, populations: int = 16, particles: int = 256) -> tuple[np.ndarray, np.ndarray]:
    generator, (_, means) = np.random.default_rng(seed), mixture_target(4)
    which = generator.choice(3, (populations, particles), p=WEIGHTS)
    z = means[which] + SDS[which][..., None] * generator.standard_normal((populations, particles, 4))
    return z, 0.05 * generator.standard_normal(populations)


def failed(populations: Arrived) -> tuple[str, ...]:
    from vi_kl.reference.mcmc.annealing import combine
    from vi_kl.reference.mcmc.tempering import Populations

    evidence = combine(populations.log_z, Populations(16, 256), "", "")
    figures = figures_of(populations, shares_of_modes(populations), evidence)
    figures |= {"moves_diverging": np.array(0.0), "moves_e_bfmi": np.array(1.0)}  # of chains that move easily
    return complaints(figures, Checks(), OF_THE_POPULATIONS, ("a", "b", "c", "d"))


def test_populations_that_are_exact_pass():
    assert failed(arrived(*exact_populations(0))) == ()


def test_one_population_without_a_mode_is_refused():
    z, log_z = exact_populations(1)
    _, means = mixture_target(4)
    z[3] = means[1] + np.random.default_rng(2).standard_normal(z[3].shape)
    assert any(
        "number of particles that a population has in a mode" in sentence for sentence in failed(arrived(z, log_z))
    )


def test_populations_that_do_not_agree_are_refused():
    z, log_z = exact_populations(2)
    moved = z.copy()
    moved[5, :, 2] += 1.5
    assert any("one population's mean" in sentence and "in c" in sentence for sentence in failed(arrived(moved, log_z)))
    log_z[7] += 0.6
    found = failed(arrived(z, log_z))
    assert any("one population's log evidence" in sentence for sentence in found)
    assert failed(arrived(z, 10 * exact_populations(2)[1]))[0].startswith("The relative error of the evidence")
    assert "before their moves" in failed(arrived(*exact_populations(0), memory=0.5))[0]


def test_the_farthest_population_is_as_rare_as_it_says():
    """Against the plain formula for one figure; and of normal populations, one in twenty is as far as 1.96."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((8, 1))
    plain = []
    for index in range(8):
        others = np.delete(values[:, 0], index)
        t = (values[index, 0] - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / 7))
        plain.append(2 * stats.t.sf(abs(t), 6))
    chance = 1 - (1 - min(plain)) ** 8
    assert outlying(values)[0] == pytest.approx(stats.norm.isf(chance / 2), rel=1e-9)
    share = np.mean([outlying(generator.standard_normal((8, 3))).max() > 1.96 for _ in range(2000)])
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)
    assert outlying(np.ones((8, 2))).tolist() == [0.0, 0.0]


@pytest.mark.landing
def test_the_start_is_the_mixture_that_it_says():
    """Its density against SciPy's, its gradient against differences, its draws against its weights."""
    tril = np.array([[0.5, 0], [0.2, 0.4]])
    parts = [StartingDensity.broad(2), StartingDensity(np.array([8.0, 1.0]), tril), StartingDensity(-tril[0], tril)]
    start = MixtureStart(tuple(parts), np.array([0.5, 0.3, 0.2]))
    exact = [stats.multivariate_t(part.location, part.scale_tril @ part.scale_tril.T, 5.0) for part in parts]

    def log_prob(z):
        return np.log(sum(weight * one.pdf(z) for weight, one in zip(start.weights, exact, strict=True)))

    z = start.sample(np.random.default_rng(0), 20_000)
    with jax.enable_x64(True):
        ready = start.ready()
        np.testing.assert_allclose(ready.log_prob(jnp.asarray(z[:50])), log_prob(z[:50]), rtol=1e-10)
        slopes = [(log_prob(z[:50] + e) - log_prob(z[:50] - e)) / 2e-5 for e in 1e-5 * np.eye(2)]
        np.testing.assert_allclose(ready.gradient(jnp.asarray(z[:50])), np.stack(slopes, axis=1), rtol=1e-5, atol=1e-5)
    inside = (np.abs(z - parts[1].location) < 0.5).all(axis=1).mean()
    box = sum(
        weight * (one.cdf(parts[1].location + 0.5, lower_limit=parts[1].location - 0.5, random_state=0))
        for weight, one in zip(start.weights, exact, strict=True)
    )
    assert abs(inside - box) < 4 * np.sqrt(box * (1 - box) / len(z)) + 1e-3


def test_it_starts_from_the_prior_where_there_is_one():
    """The moments of the prior in z: those of the logit of a Beta(2, 2), of normals and of logs of log-normals."""
    with jax.enable_x64(True):
        start = broad_start(Target.from_numpyro(unordered, mixture_data()), jax.random.key(0))
    sds = np.linalg.norm(start.scale_tril, axis=1)
    exact = np.array([np.sqrt(2 * polygamma(1, 2)), 3, 3, 0.5, 0.5])
    named = Target.from_numpyro(unordered, mixture_data()).coordinate_names
    order = np.argsort([["w", "m", "s"].index(name[0]) for name in named], kind="stable")
    np.testing.assert_allclose(sds[order], exact, rtol=4 / np.sqrt(2 * 1000) * 1.5)  # the logit's tails are heavier
    assert (np.abs(start.location[order]) < 4 * exact / np.sqrt(1000)).all()
    with jax.enable_x64(True):
        start = broad_start(mixture_target(4)[0], jax.random.key(0))
    np.testing.assert_array_equal(start.scale_tril, 4 * np.eye(4))


@pytest.mark.exhaustive
def test_the_cache_and_the_same_key_give_the_same_numbers(tmp_path, monkeypatch):
    target, _ = mixture_target(4)
    first = reference_by_smc(target, key=1, **SMALL)
    stored = reference_by_smc(target, key=1, cache=tmp_path, **SMALL)
    monkeypatch.delattr(sys.modules["vi_kl.reference.mcmc.smc_reference"], "run_smc")  # it is not called again
    hit = reference_by_smc(target, key=1, cache=tmp_path, **SMALL)
    for again in (stored, hit):
        np.testing.assert_array_equal(first.chains, again.chains)
        for name in ("log_evidence", "complaints", "figures", "gradients", "num_stages"):
            assert getattr(first, name) == getattr(again, name)
        assert [mode.share for mode in first.modes] == [mode.share for mode in again.modes]
    with pytest.raises(UntrustworthyReference, match="The reference by sequential Monte Carlo"):
        reference_by_smc(target, key=1, cache=tmp_path, checks=Checks(min_ess=1e6), **SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_populations": 2}, "num_populations"),
        ({"num_particles": 3}, "num_particles"),
        ({"on_failure": "ignore"}, "on_failure"),
        ({"start": StartingDensity(np.zeros(3), np.eye(3))}, "location of shape"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        reference_by_smc(mixture_target(4)[0], key=0, **settings)


def centred_schools(y, sd):
    """Eight schools, centred: a funnel, whose neck no population reaches."""
    mean = numpyro.sample("mean", dist.Normal(0, 5))
    scale = numpyro.sample("scale", dist.HalfCauchy(5))
    with numpyro.plate("schools", 8):
        effect = numpyro.sample("effect", dist.Normal(mean, scale))
        numpyro.sample("y", dist.Normal(effect, sd), obs=y)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_funnel_is_complained_of_though_all_populations_agree(seed):
    """In nine keys the E-BFMI of the chains from particles was .14 to .22, of which .3 is asked."""
    y, sd = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    target = Target.from_numpyro(centred_schools, y, sd)
    with pytest.raises(UntrustworthyReference, match="trajectories from the particles"):
        reference_by_smc(target, key=seed, **SMALL)
