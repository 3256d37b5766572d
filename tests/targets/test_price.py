"""The price of an evaluation, held against XLA's own count of memory; batches and draws that follow from it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from tiers import exhaustive, exhaustive_after

import vi_kl
from vi_kl import Target
from vi_kl.core.aligned import BOUNDARY, LARGE, aligned
from vi_kl.core.precision import in_float64
from vi_kl.core.programs.measure import size_of
from vi_kl.families.gaussian import MeanField
from vi_kl.objectives.elbo import ELBO
from vi_kl.targets import price
from vi_kl.targets.price import Price, part_of_draws, price_of
from vi_kl.targets.target import log_density, log_density_in_chunks, value_and_grad_batch


def logistic(x, y):
    b = numpyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)


def grouped(x, group, y):
    scale = numpyro.sample("scale", dist.HalfNormal(1))
    with numpyro.plate("groups", 30):
        u = numpyro.sample("u", dist.Normal(0, scale))
    b = numpyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Poisson(jnp.exp(u[group] + x @ b)), obs=y)


def walk(y):
    z = numpyro.sample("z", dist.Normal(0, 1).expand([3]).to_event(1))
    steps = jax.lax.scan(lambda state, _: (jnp.tanh(z[0] * state + z[1]),) * 2, 0.1, None, length=len(y))[1]
    numpyro.sample("y", dist.Normal(steps, jnp.exp(z[2])), obs=y)


def target_of(model: str, rows: int = 2000) -> Target:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((rows, 4)) / 4, generator.integers(0, 2, rows).astype(float)
    data = {logistic: (x, y), grouped: (x, generator.integers(0, 30, rows), y), walk: (y,)}
    return Target.from_numpyro(globals()[model], *data[globals()[model]])


@pytest.fixture
def small_memory(monkeypatch):
    """A budget of half a megabyte, which is a dozen draws of 2,000 rows."""
    monkeypatch.setattr(price, "MEMORY", 500_000)


# The size of a program ---------------------------------------------------------------------------------------------


def test_operations_and_bytes_of_a_program_that_can_be_counted_by_hand():
    """A matrix product of 50 x 3, an exponential and a sum; what does not depend on z counts for nothing."""
    shapes = jax.ShapeDtypeStruct((50, 3), np.float32), jax.ShapeDtypeStruct((3,), np.float32)
    traced = jax.make_jaxpr(lambda x, z: jnp.sum(jnp.exp(x @ z) * jnp.log(x[:, 0])))(*shapes)
    size = size_of(traced, [False, True])
    assert size.operations == 0.5 * 50 * 3 + 10 * 50 + 50 + 50  # product, exponential, product, sum
    assert size.kept == 4 * (50 + 3)  # the first product and z, while the rest is fused
    assert size.written == 4 * (3 * 50 + 1)


@pytest.mark.parametrize("model", exhaustive_after(1, ["walk", "grouped", "logistic"]))
@in_float64
def test_memory_is_about_what_xla_allocates_for_a_batch(model):
    """Never less than XLA says, apart from rounding and what is of the length of z, and no more than ten times that."""
    target, n = target_of(model), 32
    z = jnp.zeros((n, target.dim))
    found = price_of(target)
    bounds = {
        found.value_bytes: log_density,
        price.FUSED * price.traced_size(target, jax.value_and_grad).kept: jax.value_and_grad(log_density, argnums=1),
    }
    for bound, function in bounds.items():
        compiled = jax.jit(jax.vmap(function, in_axes=(None, 0))).lower(target, z).compile()
        held = compiled.memory_analysis().temp_size_in_bytes / n
        assert held < 1.1 * bound + 1000
        assert bound < 10 * held + 1000
    assert found.gradient_bytes >= found.value_bytes


def test_the_price_of_rows_is_linear_in_their_number():
    few, many = (price_of(target_of("logistic", rows)) for rows in (1000, 3000))
    assert many.operations == pytest.approx(3 * few.operations, rel=0.02)
    assert many.value_bytes == pytest.approx(3 * few.value_bytes, rel=0.02)


# What follows from it ----------------------------------------------------------------------------------------------


def test_batches_of_cheap_evaluations_are_as_long_as_asked_for():
    target = target_of("logistic", 200)
    assert price.values_at_once(target, 8192) == price.piece_of(target, 8192) == 8192
    assert price.gradients_at_once(target, 64) == price.piece_of(target, 64) == 64
    assert price.affordable(target, 2048, 256) == 2048


@pytest.mark.parametrize(
    ("bytes_each", "most", "expected"),
    [(10**6, 512, 512), (10**6, 1000, 1000), (10**6, 1001, 512), (10**7, 64, 64), (3 * 10**8, 64, 2), (10**10, 8, 1)],
)
def test_a_batch_holds_no_more_than_the_budget(bytes_each, most, expected):
    assert price.that_fit(bytes_each, most) == expected
    assert expected == 1 or expected * bytes_each <= price.MEMORY


def test_draws_fall_with_the_price_down_to_the_fewest():
    shares = [Price(operations, 1, 1).share for operations in (0.0, 1e3, 5e5, 1e6, 1e8)]
    assert shares == [1.0, 1.0, 1.0, 0.5, 0.005]
    assert [part_of_draws(share, 16_384, 512) for share in shares] == [16_384, 16_384, 16_384, 8192, 512]
    assert part_of_draws(0.3, 16_384, 512) == 4096  # a power of two, so that pieces are full
    assert part_of_draws(0.01, 5, 8) == 5  # never more than usual


@pytest.mark.parametrize("model", ["walk", *map(exhaustive, ["logistic", "grouped"])])
def test_divided_batches_give_the_same_values_and_gradients(model, small_memory, monkeypatch):
    target = target_of(model)
    z = 0.3 * np.random.default_rng(1).standard_normal((50, target.dim))
    divided = in_float64(lambda: (log_density_in_chunks(target, z), *value_and_grad_batch(target, z)))()
    inside = target.log_density(z)
    assert price.values_at_once(target, 50) < 50
    monkeypatch.setattr(price, "MEMORY", 10**9)
    whole = in_float64(lambda: (log_density_in_chunks(target, z), *value_and_grad_batch(target, z)))()
    for ours, theirs in zip((*divided, inside), (*whole, whole[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)


@in_float64
def test_the_gradient_of_a_divided_elbo_is_that_of_the_whole_and_holds_less(monkeypatch, key):
    target, family = target_of("logistic"), MeanField()
    params = jax.tree.map(jnp.asarray, family.init(key, target))

    def gradient():
        return jax.jit(jax.grad(lambda p, target: ELBO(num_draws=64)(key, p, family, target))).lower(params, target)

    whole = gradient().compile()
    monkeypatch.setattr(price, "MEMORY", 500_000)
    divided = gradient().compile()
    for ours, theirs in zip(*(jax.tree.leaves(f(params, target)) for f in (divided, whole)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    held, held_whole = (f.memory_analysis().temp_size_in_bytes for f in (divided, whole))
    assert held < 0.4 * held_whole


# Dear targets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def dear(monkeypatch):
    """A price at which everything is cut down to the fewest draws."""
    monkeypatch.setattr(price, "FULL_PRICE", 1e-3)


@pytest.mark.landing
def test_a_dear_target_is_fitted_and_checked_with_few_draws_and_wider_errors(key, dear, monkeypatch):
    target = target_of("logistic", 500)
    fit = vi_kl.fit(target, key=key)
    ours = vi_kl.check(fit, key=key)
    assert ours.num_draws == 512
    assert ours.search_share < 0.01
    assert "512 draws of q" in ours.cannot_see
    assert "num_draws=16,384" in ours.cannot_see
    monkeypatch.setattr(price, "FULL_PRICE", 1e9)
    usual = vi_kl.check(fit, key=key)
    assert usual.num_draws == 16_384
    assert "num_draws" not in usual.cannot_see
    error = np.hypot(ours.reverse_kl.standard_error, usual.reverse_kl.standard_error)
    assert abs(ours.reverse_kl.value - usual.reverse_kl.value) < 4 * error
    assert ours.reverse_kl.standard_error > usual.reverse_kl.standard_error


def test_a_dear_target_that_is_normal_is_seen_to_be(key, dear):
    """Laplace's normal is exact, and so is what is said of it: KL is zero to rounding."""
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2 / jnp.arange(1.0, 6.0)), 5)
    fit = vi_kl.fit(target, key=key)
    found = vi_kl.check(fit, key=key)
    assert fit.cost.density_evaluations < 1000
    assert abs(found.reverse_kl.value) < 1e-6
    assert found.log_evidence.value == pytest.approx(0.5 * np.sum(np.log(2 * np.pi * np.arange(1.0, 6.0))), abs=1e-3)


def test_more_draws_are_had_for_the_asking_and_the_searches_grow_with_them(key, dear):
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)
    fit = vi_kl.fit(target, "laplace", key=key)
    few, many = (vi_kl.check(fit, key=key, num_draws=n) for n in (None, 16_384))
    assert many.climbs > few.climbs
    assert many.search_share == 1
    assert "num_draws" not in many.cannot_see


def test_few_climbs_still_find_a_mode_of_half_the_mass(key, dear):
    def two(z):
        return jnp.logaddexp(-0.5 * jnp.sum((z - 4) ** 2), -0.5 * jnp.sum((z + 4) ** 2))

    fit = vi_kl.fit(Target.from_log_density(two, 2), "laplace", key=key)
    found = vi_kl.check(fit, key=key)
    assert found.misses_mode
    assert found.missed_share == pytest.approx(0.5, abs=0.1)


# Data in memory ----------------------------------------------------------------------------------------------------


def test_large_data_lie_where_xla_reads_them_in_place():
    target = target_of("logistic", 5000)
    x, y = target.data
    assert x.ctypes.data % BOUNDARY == 0
    assert aligned(x) is x
    assert np.shares_memory(aligned(y[:10]), y)
    other = np.asfortranarray(x)[: LARGE // 32]
    assert np.array_equal(aligned(other), other)


CHILD = """
import resource, numpy as np, numpyro, numpyro.distributions as dist, vi_kl

def model(x, y):
    b = numpyro.sample("b", dist.Normal(0, 1).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

generator = np.random.default_rng(0)
x = generator.standard_normal((300_000, 20))
y = (generator.random(300_000) < 1 / (1 + np.exp(-x @ generator.standard_normal(20) / 5))).astype(float)
target = vi_kl.Target.from_numpyro(model, x, y)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit = vi_kl.fit(target, key=0, progress=False)
certificate = vi_kl.check(fit, key=1, progress=False)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024, certificate.reverse_kl.value, certificate.label)
"""


@pytest.mark.exhaustive
def test_a_fit_and_its_check_of_many_rows_keep_to_their_memory():
    """300,000 rows took twenty gigabytes once. The programs themselves, and pages once used, take some 0.3 GB."""
    lines = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    grown, kl, label = lines.split()[-3:]
    assert int(grown) < price.MEMORY + 300_000_000
    assert float(kl) < 0.01
    assert label in ("estimated", "certified")
