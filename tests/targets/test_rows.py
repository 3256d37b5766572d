"""Log densities as sums over rows: the blocks add up to the density in one go, which is the oracle; and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from vi_kl import Target
from vi_kl.core.compilation import compiled
from vi_kl.core.precision import in_float64
from vi_kl.targets import rows
from vi_kl.targets.rows import row_sum_of, summed
from vi_kl.targets.target import value_and_grad_rows

N = 230  # rows: four blocks of 64, the last of which has been counted in part


def coefficients(count: int):
    return numpyro.sample("b", dist.Normal(0, 1).expand([count]).to_event(1))


def regression(x, y):
    """A scale that multiplies the sum over rows, and a column of ones beside the data."""
    b, scale = coefficients(5), numpyro.sample("scale", dist.HalfNormal(1))
    x = jnp.concatenate([jnp.ones((len(x), 1)), x], axis=1)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ b, scale), obs=y)


def grouped(x, y, group):
    """Integers of each row that pick among the latent variables, and a function with a derivative of its own."""
    b, u = coefficients(4), numpyro.sample("u", dist.Normal(0, 1).expand([7]).to_event(1))
    rate = jax.nn.softplus(x @ b + u[group]) + jnp.where(x[:, 1] > 0, jax.nn.relu(b[1]), 0.0)
    numpyro.sample("y", dist.Poisson(rate + 0.1), obs=jnp.abs(jnp.round(y)))


def mixed(x, y):
    """Sums over rows beside sums over columns, logs of sums over components, weights, and a factor."""
    b = coefficients(3)
    logits = jnp.stack([x[:, :3] @ b, x[:, 1:] @ b, jnp.full(len(y), b[0])], axis=-1)
    components = dist.Normal(jnp.arange(3.0) + b, 1.0).expand([len(y), 3])
    numpyro.sample("y", dist.MixtureSameFamily(dist.Categorical(logits=logits), components), obs=y)
    numpyro.factor("penalty", -0.1 * (x.T @ (y - x[:, 0] * b[1])).sum() - (b**2).sum())


def subsampled(x, y):
    b = coefficients(4)
    with numpyro.plate("rows", N, subsample_size=20) as chosen:
        numpyro.sample("y", dist.Bernoulli(logits=x[chosen] @ b), obs=(y > 0)[chosen])


def centred(x, y):
    numpyro.sample("y", dist.Normal((x - x.mean(axis=0)) @ coefficients(4), 1.0), obs=y)


def autoregressive(x, y):
    b = coefficients(2)
    numpyro.sample("y", dist.Normal(b[0] * y[:-1] + b[1], 1.0), obs=y[1:])


def marginal(x, y):
    """A squared sum over the rows."""
    numpyro.factor("all", -jnp.logaddexp(0.0, (x @ coefficients(4)).sum()))


def a_latent_of_each_row(x, y):
    u = numpyro.sample("u", dist.Normal(0, 1).expand([len(y)]).to_event(1))
    numpyro.sample("y", dist.Normal(u, 1.0), obs=y + 0 * x[:, 0])


def target_of(model) -> Target:
    generator = np.random.default_rng(3)
    x, y = generator.standard_normal((N, 4)), generator.standard_normal(N)
    group = (generator.integers(0, 7, N),) if model is grouped else ()
    return Target.from_numpyro(model, x, y, *group)


@pytest.fixture
def few_are_many(monkeypatch):
    """Takes a few hundred rows for many."""
    monkeypatch.setattr(rows, "LARGE", 1000)
    monkeypatch.setattr(rows, "FEWEST", 64)
    monkeypatch.setattr(rows, "BLOCK", 64)
    rows.known.clear()
    yield
    rows.known.clear()


@pytest.mark.parametrize("model", [regression, grouped, mixed, subsampled])
def test_blocks_of_rows_add_up_to_the_log_density_and_its_gradient(model, monkeypatch):
    target = target_of(model)
    z = np.random.default_rng(4).standard_normal((3, target.dim))
    whole = in_float64(value_and_grad_rows)(target, z)
    with monkeypatch.context() as patch:
        patch.setattr(rows, "LARGE", 1000), patch.setattr(rows, "FEWEST", 64), patch.setattr(rows, "BLOCK", 64)
        rows.known.clear()
        found = in_float64(row_sum_of)(target)
        assert found is not None
        assert found.block_size(3) == 64
        both = compiled(lambda leaves, z: summed(jax.value_and_grad, leaves, found, z))
        by_rows = in_float64(both)(list(target.data), z)
        through = compiled(lambda leaves, z: jax.grad(lambda z: summed(lambda f: f, leaves, found, z).sum())(z))
        slopes = in_float64(through)(list(target.data), z)
    rows.known.clear()
    for one, other in zip(whole, by_rows, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(slopes, whole[1], rtol=1e-11, atol=1e-11)  # as SVI takes them


@pytest.mark.parametrize("model", [centred, autoregressive, marginal, a_latent_of_each_row])
def test_a_density_whose_rows_are_not_apart_is_no_sum_over_them(model, few_are_many):
    assert in_float64(row_sum_of)(target_of(model)) is None
