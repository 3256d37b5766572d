"""What `sample` gives beside the latent sites: deterministic ones and the names that a reparameterisation replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.handlers import reparam
from numpyro.infer import Predictive
from numpyro.infer.reparam import LocScaleReparam, TransformReparam

import vi_kl
from vi_kl.families.approximation import Approximation
from vi_kl.families.gaussian import MeanField
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")
X, Y = np.array([0.5, 1.0, 2.0]), np.array([0.3, 1.2, 2.5])


def member(target):
    """A normal of sd 1 around z = 0.3, of this target."""
    return Approximation(MeanField(), {"loc": np.full(target.dim, 0.3), "log_scale": np.zeros(target.dim)}, target)


@reparam(config={"slope": TransformReparam(), "shift": LocScaleReparam(0.0)})
def line(x, y):
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))
    base = dist.Normal(0, 1).expand([2]).to_event(1)
    slope = numpyro.sample("slope", dist.TransformedDistribution(base, dist.transforms.AffineTransform(1, scale)))
    shift = numpyro.sample("shift", dist.Normal(0, scale))
    mean = numpyro.deterministic("mean", shift + slope[0] * x)
    numpyro.sample("y", dist.Normal(mean, scale), obs=y)


def test_deterministic_sites_and_the_names_behind_a_reparameterisation():
    """As NumPyro's Predictive has them at the same latent values."""
    target = Target.from_numpyro(line, X, Y)
    q = member(target)
    draws = q.sample(0, 5)
    latent = q.sample(0, 5, deterministic=False)
    assert set(latent) == {"scale", "shift_decentered", "slope_base"}
    names = ["slope", "shift", "mean"]
    expected = Predictive(line, posterior_samples=latent, return_sites=names)(jax.random.key(0), X, Y)
    for name in names:
        np.testing.assert_allclose(draws[name], expected[name], rtol=1e-5)
    assert draws["mean"].dtype == np.float64
    np.testing.assert_allclose(target.unconstrain(draws), target.unconstrain(latent), rtol=1e-12)
    with pytest.raises(ValueError, match="but the target has"):
        target.unconstrain({**draws, "typo": draws["mean"]})


def path(y):
    def step(x, y):
        x = numpyro.sample("x", dist.Normal(x, 1))
        numpyro.deterministic("double", 2 * x)
        numpyro.sample("y", dist.Normal(x, 1), obs=y)
        return x, None

    last, _ = scan(step, 0.0, y)
    numpyro.deterministic("last", last)
    numpyro.deterministic("label", "no number")


def test_deterministic_sites_in_a_scan():
    draws = member(Target.from_numpyro(path, Y)).sample(0, 300)  # more than go through the model at once
    np.testing.assert_allclose(draws["double"], 2 * draws["x"], rtol=1e-12)
    np.testing.assert_allclose(draws["last"], draws["x"][:, -1], rtol=1e-12)
    assert "label" not in draws


def missing_rows(x, y, seen):
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("rows", 3):
        numpyro.sample("y", dist.Normal(slope * x, 1), obs=y, obs_mask=seen)


def missing_counts(y, seen):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", 3):
        numpyro.sample("y", dist.Poisson(rate), obs=y, obs_mask=seen)


def test_missing_rows_are_filled_in():
    seen = np.array([True, False, True])
    draws = member(Target.from_numpyro(missing_rows, X, np.where(seen, Y, np.nan), seen)).sample(0, 4)
    np.testing.assert_allclose(draws["y"][:, seen], np.tile(Y[seen], (4, 1)), rtol=1e-12)
    np.testing.assert_allclose(draws["y"][:, 1], draws["y_unobserved"][:, 0], rtol=1e-12)


@pytest.mark.landing
def test_missing_counts_are_drawn_from_their_predictive_distribution():
    seen, n = np.array([True, False, True]), 4000
    draws = member(Target.from_numpyro(missing_counts, np.array([2, 0, 3]), seen)).sample(0, n)
    assert (draws["y"][:, seen] == [2, 3]).all()
    error = draws["y"][:, 1] - draws["rate"]
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(n)
    np.testing.assert_allclose(np.mean(error**2 / draws["rate"]), 1, atol=0.2)  # the variance is the rate


def mixture(y):
    locs = numpyro.sample("locs", dist.Normal(0, 3).expand([2]).to_event(1))
    numpyro.deterministic("spread", locs[1] - locs[0])
    with numpyro.plate("rows", 3):
        kind = numpyro.sample("kind", dist.Bernoulli(0.4))
        mean = numpyro.deterministic("mean", locs[kind])
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_what_depends_on_a_summed_out_site_is_left_out():
    draws = member(Target.from_numpyro(mixture, Y)).sample(0, 5)
    assert set(draws) == {"locs", "spread"}
    np.testing.assert_allclose(draws["spread"], draws["locs"][:, 1] - draws["locs"][:, 0], rtol=1e-12)


@pytest.mark.landing
def test_a_fit_and_its_particles_give_them_too():
    target = Target.from_numpyro(line, X, Y)
    particles = vi_kl.algorithms.SVGD(num_particles=5, max_steps=2).fit(0, target)
    for fit in (particles, vi_kl.fit(target, "map", key=0)):
        draws = fit.sample(0, 3)
        np.testing.assert_allclose(draws["mean"], draws["shift"][:, None] + draws["slope"][:, :1] * X, rtol=1e-9)


def test_a_log_density_has_latent_sites_alone():
    assert set(member(Target.from_log_density(lambda z: -jnp.sum(z**2), 2)).sample(0, 3)) == {"z"}
