"""Models and data of every kind: ODEs with adaptive solvers, Gaussian processes, scans, float32, masks, pandas."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.experimental.ode import odeint
from numpyro.contrib.control_flow import cond, scan
from scipy import special, stats

from vi_kl.targets import Target
from vi_kl.targets.modes import hessian
from vi_kl.targets.target import value_and_grad, value_and_grad_batch

pytestmark = pytest.mark.usefixtures("compiled_quickly")
TIMES = np.array([0.0, 0.5, 1.0, 2.0])


def decay(times, y):
    rate = numpyro.sample("rate", dist.LogNormal(0, 1))
    path = odeint(lambda x, t: -rate * x, jnp.asarray(3.0), times, rtol=1e-10, atol=1e-10)
    numpyro.sample("y", dist.Normal(path, 0.5), obs=y)


@pytest.mark.exhaustive
def test_an_ode_with_an_adaptive_solver():
    """Density, gradient, batch and Hessian, against the solution 3 exp(-rate t)."""
    y = np.array([2.9, 2.2, 1.3, 0.2])
    target = Target.from_numpyro(decay, TIMES, y)

    def exact(z):
        path = 3 * np.exp(-np.exp(z) * TIMES)
        return stats.norm.logpdf(z) + stats.norm.logpdf(y, path, 0.5).sum()

    points = np.array([-1.0, 0.0, 0.7])
    np.testing.assert_allclose(target.log_density(points[:, None]), [exact(z) for z in points], rtol=1e-7)
    with jax.enable_x64(True):
        gradient = value_and_grad(target, jnp.array([0.2]))[1]
        curvature = hessian(lambda z: value_and_grad_batch(target, z)[1], np.array([0.2]))
    h = 1e-4
    np.testing.assert_allclose(gradient, [(exact(0.2 + h) - exact(0.2 - h)) / (2 * h)], rtol=1e-6)
    np.testing.assert_allclose(curvature, [[(exact(0.2 + h) - 2 * exact(0.2) + exact(0.2 - h)) / h**2]], rtol=1e-4)


def process(x, y):
    length = numpyro.sample("length", dist.InverseGamma(5, 5))
    kernel = jnp.exp(-0.5 * ((x[:, None] - x[None, :]) / length) ** 2) + 1e-8 * jnp.eye(len(x))
    numpyro.sample("y", dist.MultivariateNormal(0, covariance_matrix=kernel), obs=y)


def test_a_gaussian_process_whose_kernel_needs_float64():
    x, y = np.linspace(0, 1, 12, dtype=np.float32), np.sin(np.linspace(0, 1, 12)).astype(np.float32)
    target = Target.from_numpyro(process, x, y)
    length = 1.3
    wide = x.astype(float)
    kernel = np.exp(-0.5 * ((wide[:, None] - wide) / length) ** 2) + 1e-8 * np.eye(12)
    expected = (
        stats.invgamma.logpdf(length, 5, scale=5) + np.log(length)
        + stats.multivariate_normal.logpdf(y.astype(float), np.zeros(12), kernel)
    )  # fmt: skip
    assert np.linalg.cond(kernel) > 1e8  # in float32 its Cholesky factor does not exist
    np.testing.assert_allclose(target.log_density(np.array([np.log(length)])), expected, rtol=1e-4)


def walk(y):
    """A latent path in a scan, its support depending on the step before."""
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))

    def step(x, y):
        x = numpyro.sample("x", dist.Uniform(0, 1 + x))
        numpyro.sample("y", dist.Normal(x, scale), obs=y)
        return x, None

    scan(step, 1.0, y)


def test_a_latent_path_in_a_scan():
    y = np.array([0.3, 1.2, 0.8])
    target = Target.from_numpyro(walk, y)
    z = np.array([0.1, -0.7, 0.4, 1.1])
    sites = target.constrain(z)
    x, total, before = [], stats.norm.logpdf(0.1), 1.0
    for u, value in zip(z[1:], y, strict=True):
        s = special.expit(u)
        x.append((1 + before) * s)
        total += np.log(s * (1 - s)) + stats.norm.logpdf(value, x[-1], np.exp(0.1))  # width cancels in the prior
        before = x[-1]
    np.testing.assert_allclose(sites["x"], x, rtol=1e-12)
    np.testing.assert_allclose(target.log_density(z), total, rtol=1e-12)
    np.testing.assert_allclose(target.unconstrain(sites), z, rtol=1e-9)

    def constrained(z):
        sites, log_det = target.density.constrain(target.data, target.unravel(z))
        return target.ravel(sites), log_det

    with jax.enable_x64(True):
        jacobian, log_det = jax.jit(jax.jacfwd(constrained, has_aux=True))(jnp.asarray(z))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(np.asarray(jacobian))[1], rtol=1e-9)


def branching(flag, y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    scale = cond(flag > 0, lambda _: 2.0, lambda _: 1.0, None)
    numpyro.sample("y", dist.Normal(loc, scale), obs=y)


def test_a_branch_on_data():
    target = Target.from_numpyro(branching, np.array(1), np.array(0.5))
    expected = stats.norm.logpdf(0.2) + stats.norm.logpdf(0.5, 0.2, 2)
    np.testing.assert_allclose(target.log_density(np.array([0.2])), expected, rtol=1e-12)


def mixed(counts, seen, x, group, y):
    effect = numpyro.sample("effect", dist.Normal(0, 1).expand([3]).to_event(1))
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("rows", len(counts)):
        numpyro.sample("counts", dist.Poisson(jnp.exp(effect[group])), obs=counts)
        with numpyro.handlers.mask(mask=seen):
            numpyro.sample("y", dist.Normal(slope * x, 1), obs=y)


@pytest.mark.parametrize("width", [np.float32, np.float64])
def test_counts_masks_groups_and_missing_rows_of_a_data_frame(width):
    import pandas as pd

    frame = pd.DataFrame({
        "counts": np.array([0, 3, 1, 5], dtype=np.uint8), "seen": [True, True, False, True],
        "x": np.array([0.5, 1.0, 2.0, -1.0], dtype=width), "group": np.array([0, 1, 2, 1], dtype=np.int8),
        "y": np.array([0.25, 1.5, 77.0, -0.5], dtype=width),
    })  # fmt: skip
    target = Target.from_numpyro(mixed, *(frame[name] for name in ("counts", "seen", "x", "group", "y")))
    z = np.array([0.1, 0.7, -0.4, 1.2])
    seen = frame["seen"].to_numpy()
    expected = (
        stats.norm.logpdf(z).sum() + stats.poisson.logpmf(frame["counts"], np.exp(z[:3][frame["group"]])).sum()
        + stats.norm.logpdf(frame["y"][seen], 1.2 * frame["x"][seen]).sum()
    )  # fmt: skip
    value = target.log_density(z.astype(width))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, expected, rtol=1e-6 if width is np.float32 else 1e-12)
