"""The tree that ArviZ gets: its groups and labels, and what ArviZ's functions make of it."""

import functools
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from draws.models import KINDS
from scipy import stats
from tiers import exhaustive_after

import vi_kl
from vi_kl.core.errors import UnsuitableError, ViKLError
from vi_kl.families import Approximation
from vi_kl.models.conjugate import beta_binomial

azs = pytest.importorskip("arviz_stats")
pytest.importorskip("arviz_base")

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0])
SCHOOLS = ["Choate", "Deerfield", "Phillips Andover", "Phillips Exeter", "Hotchkiss"]


def schools(sigma, y):
    mu = numpyro.sample("mu", dist.Normal(5, 5))
    with numpyro.plate("schools", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, 4))
        numpyro.deterministic("above", theta - mu)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


@functools.cache
def fit():
    return vi_kl.fit(schools, "laplace", SIGMA, Y, key=0)


@functools.cache
def tree():
    certificate = vi_kl.check(fit(), key=1)
    return fit().to_arviz(2, 2_000, coords={"schools": SCHOOLS}, prior=True, certificate=certificate)


def test_groups_dims_and_coords():
    found = tree()
    expected = {
        "posterior": {"mu", "theta", "above"},
        "sample_stats": {"lp", "log_q"},
        "posterior_predictive": {"y"},
        "log_likelihood": {"y"},
        "log_prior": {"mu", "theta"},
        "observed_data": {"y"},
        "constant_data": {"sigma"},
        "prior": {"mu", "theta", "above"},
        "prior_predictive": {"y"},
    }
    assert {name: set(group.data_vars) for name, group in found.children.items()} == expected
    assert found.posterior.theta.dims == ("chain", "draw", "schools")
    assert found.posterior.sizes == {"chain": 1, "draw": 2_000, "schools": 5}
    assert found.log_likelihood.y.dims == found.posterior_predictive.y.dims == ("chain", "draw", "schools")
    assert found.observed_data.y.dims == ("schools",)
    assert list(found.posterior.schools.values) == SCHOOLS
    assert found.prior.above.sizes["draw"] == 2_000
    np.testing.assert_array_equal(found.observed_data.y, Y)
    np.testing.assert_array_equal(found.constant_data.sigma, SIGMA)


def test_the_draws_are_those_of_the_other_methods():
    found = tree()
    np.testing.assert_array_equal(found.posterior.theta[0], fit().sample(2, 2_000)["theta"])
    np.testing.assert_allclose(found.posterior_predictive.y[0], fit().predict(2, n=2_000)["y"], rtol=1e-12)
    np.testing.assert_allclose(found.log_likelihood.y[0], fit().log_likelihood(2, 2_000)["y"], rtol=1e-12)


def test_densities_add_up():
    """With nothing but real sites, log p(z, data) is the sum of all log priors and log likelihoods."""
    found = tree()
    parts = found.log_prior.mu[0] + found.log_prior.theta[0].sum("schools") + found.log_likelihood.y[0].sum("schools")
    np.testing.assert_allclose(found.sample_stats.lp[0], parts, rtol=1e-10)
    z = np.column_stack([found.posterior.mu[0], found.posterior.theta[0]])
    np.testing.assert_allclose(found.sample_stats.log_q[0], fit().log_prob(z), rtol=1e-9)


def test_attributes_say_how_it_came_about():
    assert all(isinstance(value, str) for value in tree().attrs.values())  # as files hold them
    for attrs in (tree().attrs, tree().posterior.attrs):
        assert attrs["inference_library"] == "vi_kl"
        assert attrs["method"] == "variational approximation full_rank, found by Laplace"
        assert "from the posterior" in attrs["certificate"]
        assert "R-hat" in attrs["diagnostics"]
        assert "jax " in attrs["versions"]


def test_r_hat_has_nothing_to_say():
    """One chain has no R-hat, and means and sds are there all the same."""
    found = azs.summary(tree(), round_to="none")
    assert found["r_hat"].astype(float).isna().all()
    mean = fit().sample(2, 2_000)["theta"].mean(axis=0)
    np.testing.assert_allclose(found.loc[[f"theta[{s}]" for s in SCHOOLS], "mean"].astype(float), mean)


def exact_loo():
    """The log density of each y given all others: all of them are jointly normal, with mean 5."""
    covariance = 25.0 + np.diag(16 + SIGMA**2)
    found = []
    for i in range(5):
        others = np.delete(np.arange(5), i)
        gain = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, i])
        mean, variance = 5 + gain @ (Y - 5)[others], covariance[i, i] - gain @ covariance[others, i]
        found.append(stats.norm.logpdf(Y[i], mean, np.sqrt(variance)))
    return np.array(found)


def test_leave_one_out_is_that_of_the_formula():
    """The Laplace fit is exact here, so PSIS-LOO errs by its draws alone: about 0.01 for each school."""
    found = azs.loo(tree(), pointwise=True)
    np.testing.assert_allclose(found.elpd_i, exact_loo(), atol=0.03)


def test_leave_one_out_corrects_an_approximation_that_is_off():
    """A normal that is shifted and too wide: log p and log q in the tree are what mends it."""
    q = fit().approximation
    shift = 0.4 * np.exp(q.params["log_scale"])
    params = q.params | {"loc": q.params["loc"] + shift, "log_scale": q.params["log_scale"] + np.log(1.15)}
    found = Approximation(q.family, params, q.target).to_arviz(3, 8_000, predictive=False)
    corrected = azs.loo_approximate_posterior(
        found, log_p=found.sample_stats.lp, log_q=found.sample_stats.log_q, pointwise=True
    )
    np.testing.assert_allclose(corrected.elpd_i, exact_loo(), atol=0.04)
    plain = azs.loo(found, pointwise=True)
    assert np.abs(plain.elpd_i - exact_loo()).max() > 0.08


def test_sensitivity_to_the_prior_is_that_of_the_draws():
    """Powers of prior and likelihood shift `mu`, which rests on both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = azs.psense_summary(tree(), var_names=["mu"])
    assert found.loc["mu", "prior"] > 0.05
    assert found.loc["mu", "likelihood"] > 0.01


# Other things that have draws ------------------------------------------------------------------------------------


def test_exact_draws_keep_their_chains():
    drawn = vi_kl.sample(fit(), key=4, num_draws=300)
    found = drawn.to_arviz(5, predictive=False)
    assert found.posterior.sizes["chain"] == 4
    assert found.posterior.sizes["draw"] == 300
    np.testing.assert_array_equal(found.posterior.theta.values.reshape(-1, 5), drawn.sites["theta"])
    assert set(found.sample_stats.data_vars) == {"lp"}
    assert azs.summary(found, round_to="none")["r_hat"].astype(float).between(0.98, 1.05).all()
    assert "R-hat" in found.attrs["chains"]


@pytest.mark.landing
def test_a_closed_form_gives_independent_draws():
    found = beta_binomial().reference.to_arviz(0, 500)
    assert found.posterior.p.shape == (1, 500)
    assert found.posterior_predictive.successes.dtype.kind == "i"
    assert found.attrs["method"] == "posterior by closed form"


def test_corrected_draws():
    found = fit().resample(1, 400).to_arviz(0)
    assert found.posterior.sizes["draw"] == 400
    assert "k-hat" in found.attrs["importance_weights"]
    assert "log_q" not in found.sample_stats  # they are no draws of q any more


@pytest.mark.exhaustive
def test_a_comparison_gives_a_tree_for_each():
    target = fit().target.with_reference(vi_kl.find_reference)
    table = vi_kl.compare(target, ["laplace", "mean_field"], key=0)
    trees = table.to_arviz(1, 200)
    assert list(trees) == ["laplace", "mean_field", "reference"]
    for name, certificate in zip(("laplace", "mean_field"), table.certificates, strict=True):
        assert certificate.verdict in trees[name].attrs["certificate"]
    assert set(azs.compare(trees).index) == set(trees)


def test_a_log_density_has_a_posterior_only():
    target = vi_kl.Target.from_log_density(lambda p: -0.5 * jnp.sum(p["a"] ** 2), {"a": np.zeros(3)})
    found = vi_kl.fit(target, "laplace", key=0).to_arviz(0, 100, dims={"a": ["axis"]}, coords={"axis": ["x", "y", "z"]})
    assert set(found.children) == {"posterior", "sample_stats"}
    assert list(found.posterior.axis.values) == ["x", "y", "z"]
    with pytest.raises(UnsuitableError, match="to_arviz needs a model that can be run forward"):
        vi_kl.fit(target, "laplace", key=0).to_arviz(0, 100, log_likelihood=True)


@pytest.mark.parametrize("name", exhaustive_after(2, KINDS))
def test_every_kind_of_model(name):
    model, data, _ = KINDS[name]
    found = vi_kl.fit(model, "laplace", *data, key=0).to_arviz(1, 50)
    for site, x in found.observed_data.items():
        assert found.posterior_predictive[site].dims == ("chain", "draw", *x.dims)
        assert found.log_likelihood[site].dims == ("chain", "draw", *x.dims[: found.log_likelihood[site].ndim - 2])
    if name == "nested":
        assert found.posterior_predictive.y.dims == ("chain", "draw", "rows", "columns", "y_dim_2")
        assert found.log_likelihood.y.dims == ("chain", "draw", "rows", "columns")
    if name == "ragged":
        assert found.posterior.twice.dims == ("chain", "draw", "groups")
        assert found.posterior.spread.dims == ("chain", "draw")


def named_alike(x, y):
    with numpyro.plate("x", 3):
        theta = numpyro.sample("theta", dist.Normal(x, 1))
        k = numpyro.sample("k", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Normal(theta + k, 1), obs=y)


def test_an_axis_is_not_called_as_data_are():
    """It would be their coordinate. Discrete sites are in the posterior."""
    fit = vi_kl.fit(named_alike, "laplace", np.arange(3.0), np.zeros(3), key=0)
    found = fit.to_arviz(1, 50, coords={"x": ["a", "b", "c"]})
    assert found.posterior.theta.dims == ("chain", "draw", "x_dim")
    assert list(found.posterior.x_dim.values) == ["a", "b", "c"]
    assert set(np.unique(found.posterior.k)) == {0, 1}
    assert set(found.constant_data) == {"x"}


def test_without_arviz_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_base", None)
    with pytest.raises(ViKLError, match=r"pip install .vi_kl\[arviz\]"):
        fit().to_arviz(0)


# ArviZ's figures ----------------------------------------------------------------------------------


@pytest.mark.publication
def test_figures_are_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    plots = pytest.importorskip("arviz_plots")
    for draw in (plots.plot_dist, plots.plot_forest, plots.plot_ppc_dist, plots.plot_prior_posterior):
        draw(tree())
    plots.plot_forest({"one": tree(), "other": fit().to_arviz(3, 100, coords={"schools": SCHOOLS})})


def regression(x, table, g, y=None):
    slope, scale = numpyro.sample("slope", dist.Normal(0, 1)), numpyro.sample("scale", dist.HalfNormal(1))
    with numpyro.plate("towns", 3):
        shift = numpyro.sample("shift", dist.Normal(0, 1))
    with numpyro.plate("rows", len(x)):
        line = slope * x + shift[g] + 0.0 * table[:, 0]
        numpyro.sample("y", dist.Normal(line, scale), obs=y)


@functools.cache
def tree_of_a_regression():
    generator = np.random.default_rng(0)
    x, table, g = generator.normal(size=30), generator.normal(size=(30, 2)), np.arange(30) % 3
    fit = vi_kl.fit(regression, "laplace", x, table, g, y=x + generator.normal(size=30), key=0)
    return fit.to_arviz(0, 200, prior=True)


def test_rows_of_constant_data_are_those_of_the_observations():
    data = tree_of_a_regression().constant_data
    assert data.x.dims == data.g.dims == tree_of_a_regression().observed_data.y.dims == ("rows",)
    assert data.table.dims == ("rows", "table_dim_1")


OF_A_TREE = [
    "autocorr",
    "convergence_dist",
    "dgof",
    "dgof_dist",
    "dist",
    "ess",
    "ess_evolution",
    "forest",
    "loo_pit",
    "mcse",
    "pair",
    "parallel",
    "ppc_censored",
    "ppc_dist",
    "ppc_interval",
    "ppc_pava",
    "ppc_pit",
    "ppc_tstat",
    "prior_posterior",
    "psense_dist",
    "psense_quantities",
    "rank",
    "rank_dist",
    "ridge",
    "trace",
    "trace_dist",
]
IN_A_GRID = ("dgof_dist", "psense_dist", "psense_quantities", "rank_dist", "trace_dist")
OF_MORE = {
    "bf": lambda draw, tree: draw(tree, var_names="slope"),
    "khat": lambda draw, tree: draw(pytest.importorskip("arviz_stats").loo(tree, pointwise=True)),
    "lm": lambda draw, tree: draw(tree, x="x", y="y"),
    "pair_focus": lambda draw, tree: draw(tree, focus_var="slope"),
    "ppc_pava_residuals": lambda draw, tree: draw(tree, x_var="x"),
}


@pytest.mark.publication
@pytest.mark.parametrize("name", [*OF_A_TREE, *OF_MORE])
def test_every_figure_of_a_posterior_is_drawn(name):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    plots, xarray = pytest.importorskip("arviz_plots"), pytest.importorskip("xarray")
    version = tuple(map(int, xarray.__version__.split(".")[:2]))
    if name in IN_A_GRID and plots.__version__.startswith("0.") and version >= (2026, 4):
        pytest.skip("arviz-plots before 1.0 makes Datasets of Datasets, which xarray 2026.4 refuses")
    draw = getattr(plots, f"plot_{name}", None)
    if draw is None:
        pytest.skip(f"arviz-plots {plots.__version__} has no plot_{name}")
    OF_MORE.get(name, lambda draw, tree: draw(tree))(draw, tree_of_a_regression())
    matplotlib.pyplot.close("all")
