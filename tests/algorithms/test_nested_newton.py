"""Nested normals against exact marginals: groups integrated by hand or by quadrature, hyperparameters on a grid."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from benchmarks.measure_hierarchies import centred, log_marginal_of_spread
from benchmarks.zoo.large import hierarchy_data
from scipy import stats
from scipy.special import logsumexp

import vi_kl
from vi_kl import Target
from vi_kl.algorithms import NestedNewton, VariationalNewton
from vi_kl.algorithms.algorithm import CostCounter, History, Solution, Status
from vi_kl.algorithms.conditional_normal import Conditional
from vi_kl.algorithms.initialization import Initialization
from vi_kl.algorithms.marginal_ascent import Frame as Ascended
from vi_kl.algorithms.marginal_ascent import ascend
from vi_kl.algorithms.nested_newton import near_full_rank
from vi_kl.algorithms.nested_steps import on_finer_grid
from vi_kl.algorithms.shared_coordinates import candidates, shared_coordinates
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.families import NestedNormal, SparseNormal
from vi_kl.families.frame import Frame
from vi_kl.targets.hessian_structure import find_sparse_hessian

SD = 1.0


def hierarchy(group, y, groups):
    """Groups that are normal given mu and tau, and the rows' sd known."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(2))
    with numpyro.plate("groups", groups):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    numpyro.sample("y", dist.Normal(theta[group], SD).to_event(1), obs=y)


def counts(y):
    """Groups that are skewed given mu and tau."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 2)), numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("groups", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    numpyro.sample("y", dist.Poisson(jnp.exp(theta)[:, None]).to_event(2), obs=y)


def shares(trials, y):
    """The same of shares, of few trials each."""
    mu, tau = numpyro.sample("mu", dist.Normal(0, 2)), numpyro.sample("tau", dist.HalfNormal(1))
    with numpyro.plate("groups", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Binomial(trials, logits=theta), obs=y)


def crossed(row, column, y, sizes, vector):
    """Two crossed effects, whose spreads are one site of two numbers outside the plates, or two sites."""
    if vector:
        spread = numpyro.sample("spread", dist.HalfNormal(2).expand([2]).to_event(1))
    else:
        spread = [numpyro.sample(f"spread_{i}", dist.HalfNormal(2)) for i in range(2)]
    with numpyro.plate("rows", sizes[0]):
        of_row = numpyro.sample("of_row", dist.Normal(0, spread[0]))
    with numpyro.plate("columns", sizes[1]):
        of_column = numpyro.sample("of_column", dist.Normal(0, spread[1]))
    numpyro.sample("y", dist.Bernoulli(logits=of_row[row] + of_column[column]).to_event(1), obs=y)


def crossed_target(vector):
    """Answers of 120 rows to 16 columns, each to each, so that the columns meet more of the model than their spread."""
    rng, sizes = np.random.default_rng(8), (120, 16)
    row, column = (one.ravel() for one in np.meshgrid(*map(np.arange, sizes), indexing="ij"))
    logits = 1.4 * rng.standard_normal(sizes[0])[row] + 0.7 * rng.standard_normal(sizes[1])[column]
    y = (rng.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(float)
    return Target.from_numpyro(crossed, row, column, y, sizes, vector)


# What is exact -----------------------------------------------------------------------------------------------------


def moments(weights, values, variances=0.0) -> tuple[float, float]:
    """Mean and sd of a mixture with these weights."""
    mean = float((weights * values).sum())
    return mean, float(np.sqrt((weights * (variances + values**2)).sum() - mean**2))


LOG_TAU = np.linspace(-8.0, 3.0, 8001)


def marginal_of_tau(means, rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log density of log tau on LOG_TAU, the groups and mu integrated by hand; mu's mean and precision given it."""
    groups, noise = len(means), SD**2 / rows
    log_tau, tau2 = LOG_TAU, np.exp(2 * LOG_TAU)
    variance = tau2 + noise
    precision = groups / variance + 1 / 25
    mu = means.sum() / variance / precision
    log_p = (
        -0.5 * groups * np.log(2 * np.pi * variance) - 0.5 * (means**2).sum() / variance + 0.5 * mu**2 * precision
        - 0.5 * np.log(25 * precision) + stats.halfnorm(scale=2).logpdf(np.exp(log_tau)) + log_tau
    )  # fmt: skip
    return log_p, mu, precision


def exact_hierarchy(means, rows) -> dict:
    """Moments of mu, log tau and the groups, of their means; tau by quadrature."""
    log_p, mu, precision = marginal_of_tau(means, rows)
    log_tau, tau2 = LOG_TAU, np.exp(2 * LOG_TAU)
    weights = np.exp(log_p - logsumexp(log_p))
    share = tau2 / (tau2 + SD**2 / rows)
    found = {"mu": moments(weights, mu, 1 / precision), "tau": moments(weights, log_tau)}
    for g, mean in enumerate(means):
        spread = tau2 * (1 - share) + (1 - share) ** 2 / precision
        found[f"theta[{g}]"] = moments(weights, share * mean + (1 - share) * mu, spread)
    return found


def exact_glm(log_likelihood, centre, half, nodes=61) -> tuple[float, dict]:
    """Log evidence and moments of mu, log tau and the groups, by quadrature over all of them.

    Args:
        log_likelihood: of each group at thetas, (thetas,) -> (thetas, groups).
        centre, half: the middle and half the sides of the box of mu and log tau that is summed over.
        nodes: on each side.
    """
    theta = np.linspace(-8, 8, 1601)
    log_l = log_likelihood(theta)
    top = log_l.max(axis=0)
    likelihood, width = np.exp(log_l - top), theta[1] - theta[0]
    mus, log_taus = (np.linspace(c - h, c + h, nodes) for c, h in zip(centre, half, strict=True))
    log_p, first, second = np.empty((nodes, nodes)), [], []
    for i, mu in enumerate(mus):
        for j, log_tau in enumerate(log_taus):
            prior = stats.norm(mu, np.exp(log_tau)).pdf(theta) * width
            total = prior @ likelihood
            first.append((prior * theta) @ likelihood / total)
            second.append((prior * theta**2) @ likelihood / total)
            log_p[i, j] = (np.log(total) + top).sum() + stats.norm(0, 2).logpdf(mu) + log_tau
            log_p[i, j] += stats.halfnorm.logpdf(np.exp(log_tau))
    log_evidence = logsumexp(log_p) + np.log((mus[1] - mus[0]) * (log_taus[1] - log_taus[0]))
    weights = np.exp(log_p - logsumexp(log_p))
    assert max(weights[0].sum(), weights[-1].sum(), weights[:, 0].sum(), weights[:, -1].sum()) < 1e-3
    found = {"mu": moments(weights, mus[:, None]), "tau": moments(weights, log_taus[None])}
    flat = weights.ravel()
    for g, (mean, square) in enumerate(zip(np.array(first).T, np.array(second).T, strict=True)):
        found[f"theta[{g}]"] = moments(flat, mean, square - mean**2)
    return float(log_evidence), found


# What is held to it --------------------------------------------------------------------------------------------------


def errors(fit, exact, draws=20_000) -> dict[str, tuple[float, float]]:
    """{coordinate: (error of the mean in sds, relative error of the sd)} of draws of a fit."""
    z = fit.sample_and_log_prob(1, draws)[0]
    names = list(fit.target.coordinate_names)
    found = {}
    for name, (mean, sd) in exact.items():
        values = z[:, names.index(name)]
        found[name] = (values.mean() - mean) / sd, values.std() / sd - 1
    return found


def require_close(found: dict, of_few: float, rms: float, draws=20_000) -> None:
    """Hold the errors of mu, tau and sigma to one limit, and the root mean square of all to another, beyond noise."""
    noise = 1 / np.sqrt(draws)
    for name in found.keys() & {"mu", "tau", "sigma"}:
        assert abs(found[name][0]) < of_few + 3 * noise, name
        assert abs(found[name][1]) < of_few + 4 * noise, name
    mean, sd = np.sqrt((np.array(list(found.values())) ** 2).mean(axis=0))
    assert mean < np.hypot(rms, 1.3 * noise)
    assert sd < np.hypot(rms, 1.3 * noise)


def elbo(fit, n=4000) -> tuple[float, float]:
    z, log_q = fit.sample_and_log_prob(2, n)
    ratio = np.asarray(fit.target.log_density(z)) - log_q
    return float(ratio.mean()), float(ratio.std() / np.sqrt(n))


@functools.cache
def eight():
    """Eight groups of five rows, which leave tau's density skewed; with its fit, and what is exact."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        group = np.repeat(np.arange(8), 5)
        y = rng.normal(rng.normal(1.0, 0.9, 8)[group], SD)
        target = Target.from_numpyro(hierarchy, group, y, 8)
    return target, vi_kl.fit(target, key=0), y.reshape(8, 5).mean(axis=1)


def test_a_hierarchy_is_found_where_no_normal_is_near():
    """The default takes it for a model of groups."""
    target, fit, means = eight()
    exact = exact_hierarchy(means, 5)
    assert fit.status.converged
    assert isinstance(fit.approximation.family, NestedNormal)
    assert "Tried nested_normal" in str(fit.status)
    assert fit.cost.gradient_evaluations < 6_000
    require_close(errors(fit, exact), 0.03, 0.01)
    normal = VariationalNewton().fit(0, target)
    assert abs(errors(normal, exact)["tau"][1]) > 0.1
    certificate = vi_kl.check(fit, key=1)
    assert certificate.reverse_kl.value < 0.02


def test_where_newtons_steps_end_nowhere_it_begins_near_the_full_rank_normal(monkeypatch):
    target, fit, _ = eight()
    nowhere = VariationalNewton(max_gradients=1).fit(0, target).approximation

    def lost(*arguments):
        return Solution(nowhere, Status(False, "Lost."), History())

    monkeypatch.setattr(VariationalNewton, "find_along", lost)
    found = NestedNewton().fit(0, target)
    assert found.status.converged
    assert isinstance(found.approximation.family, NestedNormal)
    assert elbo(found)[0] == pytest.approx(elbo(fit)[0], abs=0.01)


@in_float64
def test_what_it_costs_to_begin_near_the_full_rank_normal_is_counted(monkeypatch):
    target, _, _ = eight()
    counter, config = CostCounter(), NestedNewton(max_gradients=5_000)
    hessian = find_sparse_hessian(target, np.random.default_rng(0).standard_normal((2, target.dim)))
    near = Initialization(Frame.of(np.zeros(target.dim), np.eye(target.dim)), "near a mode")

    def begin():  # climbs that leave nothing for a normal and a round
        counter.gradient_evaluations += 4_900
        return near

    def told(*arguments):
        pass

    config = dataclasses.replace(config, begin=begin)
    places = config.places(hessian, jax.random.key(0), None, SparseNormal(), True, told, counter)
    assert list(places) == []
    assert counter.gradient_evaluations == 4_900


@in_float64
def test_where_a_fit_starts_from_the_best_normal_near_it_is_taken_as_it_is():
    """Climbs of the ELBO have found it already. Here its precision has no entry that the structure lacks."""
    target, _, _ = eight()
    hessian = find_sparse_hessian(target, np.random.default_rng(0).standard_normal((2, target.dim)))
    structure = hessian.structure
    precision = 10 * np.eye(target.dim)
    precision[structure.order[structure.rows], structure.order[structure.columns]] += 1.0
    precision = precision + precision.T
    loc, covariance = np.arange(target.dim, dtype=float), np.linalg.inv(precision)
    begin = Initialization(Frame.of(loc, np.linalg.cholesky(covariance)), "the best normal near", is_best=True)
    counter = CostCounter()
    found = near_full_rank(hessian, jax.random.key(0), begin, 1_000, lambda *told: None, counter)
    np.testing.assert_array_equal(found.loc, loc)
    np.testing.assert_allclose(found.scale.matrix @ found.scale.matrix.T, covariance, atol=1e-12)
    assert counter.gradient_evaluations == 0


@in_float64
def test_an_ascent_from_far_away_ends_at_the_mode_of_the_marginal():
    target, _, means = eight()
    hessian = find_sparse_hessian(target, np.random.default_rng(0).standard_normal((2, target.dim)))
    few = np.array([target.coordinate_names.index("tau")])
    conditional = Conditional(hessian, few, CostCounter(), seed=1, is_normal=True)
    unit = np.where(conditional.structure.rows == conditional.structure.columns, 1.0, 0.0)
    others = Gaussian(np.zeros(target.dim - 1), conditional.scale(conditional.structure.factor(unit)))
    begin = Ascended(np.array([2.5]), np.array([[0.1]]), others, np.zeros((1, target.dim - 1)))
    found = ascend(conditional, begin)
    log_p, _, _ = marginal_of_tau(means, 5)
    top, step = np.argmax(log_p), LOG_TAU[1] - LOG_TAU[0]
    sd = step / np.sqrt(2 * log_p[top] - log_p[top + 1] - log_p[top - 1])
    assert abs(found.loc[0] - LOG_TAU[top]) < 0.3 * sd  # a step that promises less than 0.05 nats is not taken
    assert found.tril[0, 0] == pytest.approx(sd, rel=0.3)
    assert conditional.counter.gradient_evaluations < 1500


def test_draws_and_densities_belong_together_also_compiled():
    _, fit, _ = eight()
    z, log_q = fit.sample_and_log_prob(3, 500)
    np.testing.assert_allclose(fit.log_prob(z), log_q, atol=1e-9)
    with jax.enable_x64(True):
        found = fit.approximation.distribution
        np.testing.assert_allclose(found.log_prob(jnp.asarray(z[:5])), log_q[:5], atol=1e-9)
        compiled = jax.jit(lambda params, z: NestedNormal().distribution(params, fit.target).log_prob(z))
        np.testing.assert_allclose(compiled(fit.approximation.params, z[:5]), log_q[:5], atol=1e-9)
        u = np.random.default_rng(0).standard_normal((4, fit.target.dim))
        push = jax.jit(jax.vmap(lambda u: NestedNormal().push(fit.approximation.params, fit.target)(u)))
        for ours, theirs in zip(push(u), NestedNormal().in_numpy(fit.approximation.params).push(u), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_saved_and_loaded_it_draws_the_same_and_damage_is_refused(tmp_path):
    target, fit, _ = eight()
    vi_kl.save(fit, tmp_path / "fit.vikl")
    loaded = vi_kl.load(tmp_path / "fit.vikl", target)
    for ours, theirs in zip(fit.sample_and_log_prob(4, 7), loaded.sample_and_log_prob(4, 7), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    good = fit.approximation.params
    for name, wrong, words in (
        ("few", good["few"] * 0, "each once"),
        ("tril", -good["tril"], "positive diagonal"),
        ("density", 2 * good["density"], "integrates to 2"),
        ("density", -good["density"], "no density"),
        ("tails", 0 * good["tails"], "no density"),
        ("rows", good["rows"][::-1].copy(), "lower triangular"),
        ("rows", good["rows"] + 1, "lower triangular|diagonal"),
        ("means", good["means"][:-1], "shape"),
        ("bends", np.full_like(good["bends"], np.nan), "finite"),
        ("loc", good["loc"].astype(int), "shape|int"),
    ):
        with pytest.raises(ValueError, match=words):
            NestedNormal().require_params({**good, name: wrong}, target)
    lacking = {name: good[name][..., 1:] for name in ("rows", "columns", "factors")}  # the first of the diagonal
    with pytest.raises(ValueError, match="whole diagonal"):
        NestedNormal().require_params({**good, **lacking}, target)
    with pytest.raises(ValueError, match="has the parameters"):
        NestedNormal().require_params({"loc": good["loc"]}, target)
    NestedNormal().require_params(good, target)


@in_float64
def test_spreads_in_one_vector_are_hyperparameters_like_others():
    target = crossed_target(vector=True)
    hessian = find_sparse_hessian(target, np.random.default_rng(0).standard_normal((2, target.dim)))
    spreads = [i for i, name in enumerate(target.coordinate_names) if name.startswith("spread")]
    for found in (candidates, shared_coordinates):
        np.testing.assert_array_equal(found(target, hessian.structure), spreads)


def test_draws_at_one_value_of_the_few_are_those_at_the_same_value_each():
    _, fit, _ = eight()
    q, rng = NestedNormal().in_numpy(fit.approximation.params), np.random.default_rng(0)
    q = dataclasses.replace(q, bends=0.1 * rng.standard_normal(len(q.order)))
    s, noise = rng.standard_normal(len(q.few)), rng.standard_normal((5, len(q.order)))
    for ours, theirs in zip(q.given_one(s, noise), q.given(np.tile(s, (5, 1)), noise), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_a_density_on_a_finer_grid_has_no_swings_beside_a_cliff():
    axis, fine = np.linspace(-4, 4, 17), np.linspace(-4, 4, 161)
    parabola = on_finer_grid(-0.5 * axis**2, [axis], [fine])
    np.testing.assert_allclose(parabola, -0.5 * fine**2, atol=1e-12)
    cliff = on_finer_grid(np.where(axis < -1, -60.0, -0.5 * axis**2), [axis], [fine])
    assert cliff.max() < 0.1


def test_where_there_is_nothing_to_take_out_it_ends_at_the_sparse_normal_and_says_why():
    chain = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2) - 0.5 * jnp.sum(jnp.diff(z) ** 2), 12)
    fit = vi_kl.fit(chain, "nested_normal", key=0)
    assert isinstance(fit.approximation.family, SparseNormal)
    assert fit.status.converged
    assert "no hyperparameters" in str(fit.status)
    target, _, _ = eight()
    fit = NestedNewton(max_gradients=600).fit(0, target)
    assert isinstance(fit.approximation.family, SparseNormal)
    assert "raise max_gradients (now 600)" in str(fit.status)


def in_the_units_of_the_data(group, y, groups):
    """Milliseconds, say, which nobody has standardised."""
    mu = numpyro.sample("mu", dist.Normal(0, 1000))
    tau, sigma = (numpyro.sample(name, dist.HalfNormal(500)) for name in ("tau", "sigma"))
    with numpyro.plate("groups", groups):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(theta[group], sigma), obs=y)


@pytest.mark.parametrize(
    "key", [0, pytest.param(1, marks=pytest.mark.exhaustive), pytest.param(2, marks=pytest.mark.exhaustive)]
)
def test_means_and_scales_of_hundreds_are_found(key):
    """The mean is hundreds of units from the start, and at small scales, which are nearer, the ELBO hardly rises."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(110), 6)
    y = 520 + 80 * rng.standard_normal(110)[group] + 100 * rng.standard_normal(len(group))
    fit = vi_kl.fit(in_the_units_of_the_data, group, y, 110, key=key)
    assert isinstance(fit.approximation.family, NestedNormal)
    assert fit.cost.gradient_evaluations < 4_000
    found = vi_kl.check(fit, key=1).reverse_kl
    assert found.value + 2 * found.standard_error < 0.01


# Larger ------------------------------------------------------------------------------------------------------------


def exact_centred(x) -> dict:
    """Log evidence and moments of log tau of the hierarchy with an unknown sd of its rows."""
    coarse = np.linspace(-6, 2, 4001)
    log_p = log_marginal_of_spread(coarse, x)
    likely = coarse[log_p > log_p.max() - 40]
    grid = np.linspace(likely[0] - 0.01, likely[-1] + 0.01, 4001)
    log_p = log_marginal_of_spread(grid, x)
    weights = np.exp(log_p - logsumexp(log_p))
    return {"log_evidence": float(logsumexp(log_p) + np.log(grid[1] - grid[0])), "tau": moments(weights, grid)}


def two_rows():
    generator = np.random.default_rng([0, 500])
    theta = 1 + generator.standard_normal(500) / np.sqrt(2)
    return theta[:, None] + generator.standard_normal((500, 2))


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", range(3))
@pytest.mark.parametrize("data", [lambda: hierarchy_data(500)[0], two_rows], ids=["ten rows each", "two rows each"])
def test_five_hundred_groups_are_exact_by_default(data, key):
    """The best normal has tau's sd a third too small, and is half a nat, or one and a half, from the posterior."""
    x = data()
    target = Target.from_numpyro(centred, x)
    exact = exact_centred(x)
    fit = vi_kl.fit(target, key=key)
    assert isinstance(fit.approximation.family, NestedNormal)
    assert fit.cost.gradient_evaluations < 4_000
    mean, sd = errors(fit, {"tau": exact["tau"]})["tau"]
    assert abs(mean) < 0.03
    assert abs(sd) < 0.03
    value, error = elbo(fit)
    assert exact["log_evidence"] - value < 0.01 + 4 * error


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", range(3))
def test_crossed_effects_cost_the_same_however_their_spreads_are_written(key):
    """A start at which the spreads are not held while the effects settle ends where all effects are zero, far off."""
    fits = [vi_kl.fit(crossed_target(vector), "nested_normal", key=key) for vector in (True, False)]
    (first, first_error), (second, second_error) = map(elbo, fits)
    assert abs(first - second) < 0.1 + 4 * np.hypot(first_error, second_error)
    costs = [fit.cost.gradient_evaluations for fit in fits]
    assert max(costs) < 12_000
    assert max(costs) < 2 * min(costs)


GLMS = {
    "counts": (counts, lambda rng: (rng.poisson(np.exp(rng.normal(0.5, 0.6, 60))[:, None], (60, 3)).astype(float),)),
    "shares": (shares, lambda rng: (8, rng.binomial(8, 1 / (1 + np.exp(-rng.normal(-0.5, 0.8, 60)))).astype(float))),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", range(3))
@pytest.mark.parametrize("name", GLMS)
def test_groups_that_are_not_normal_given_the_hyperparameters(name, key):
    model, data = GLMS[name]
    arguments = data(np.random.default_rng(5))
    target = Target.from_numpyro(model, *arguments)
    y = arguments[-1]
    if name == "counts":
        log_evidence, exact = exact_glm(
            lambda t: stats.poisson(np.exp(t)[:, None, None]).logpmf(y).sum(-1), (0.5, -0.5), (0.9, 1.0)
        )
    else:
        chance = lambda t: 1 / (1 + np.exp(-t))[:, None]  # noqa: E731
        log_evidence, exact = exact_glm(lambda t: stats.binom(8, chance(t)).logpmf(y), (-0.5, -0.5), (1.0, 2.0))
    fit = vi_kl.fit(target, "nested_normal", key=key)
    require_close(errors(fit, exact), 0.03, 0.01)
    value, error = elbo(fit)
    assert log_evidence - value < 0.05 + 4 * error
