"""Models that state 32-bit types, and processes in which 32 and 64 bits take turns."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy.stats import halfnorm, norm

import vi_kl
from vi_kl.core.programs.widened import Widened

Y = np.random.default_rng(5).normal(0.0, 1.0, 15)


def autoregression(y):
    """A float32 as the state of NumPyro's scan."""
    phi = numpyro.sample("phi", dist.Normal(0.0, 0.5))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))

    def step(before, now):
        numpyro.sample("y", dist.Normal(phi * before, scale), obs=now)
        return phi * 0.0 + now, None

    scan(step, jnp.zeros((), dtype=jnp.float32), y)


def of_autoregression(phi, scale):
    before = np.concatenate([[0.0], Y[:-1]])
    return norm(0, 0.5).logpdf(phi) + halfnorm.logpdf(scale) + norm(phi * before, scale).logpdf(Y).sum()


def counts_in_a_loop(y):
    """Integers and floats of 32 bits in a loop, with functions that have their own rules of differentiation."""
    phi = numpyro.sample("phi", dist.Normal(0.0, 0.5))

    def step(state, now):
        level, count = state
        level = 0.5 * phi * level + jnp.logaddexp(now, phi) + jax.nn.relu(phi - now)
        return (level, count + jnp.argmax(jnp.stack([level, level + 1.0]))), level

    start = jnp.zeros((), dtype=jnp.float32), jnp.zeros((), dtype=jnp.int32)
    (_, count), level = jax.lax.scan(step, start, y)
    numpyro.sample("y", dist.Normal(level, count), obs=y)


def of_counts(phi):
    level, levels = 0.0, []
    for now in Y:
        level = 0.5 * phi * level + np.logaddexp(now, phi) + max(phi - now, 0.0)
        levels.append(level)
    return norm(0, 0.5).logpdf(phi) + norm(np.array(levels), len(Y)).logpdf(Y).sum()


@pytest.mark.landing
def test_a_model_of_32_bit_types_is_computed_in_64_and_says_so():
    target = vi_kl.Target.from_numpyro(autoregression, Y)
    z = target.unconstrain({"phi": 0.3, "scale": 0.8})
    # constants of the model are rounded to 24 bits
    assert float(target.log_density(z)) == pytest.approx(of_autoregression(0.3, 0.8) + np.log(0.8), rel=1e-6)
    assert target.narrow
    assert "traced in 32 bits" in repr(target)
    # and the noise of the result is that of 64: a fit that differences gradients ends where it should
    fit = vi_kl.fit(target, "laplace", key=jax.random.key(0))
    assert fit.status.converged, fit.status


def test_derivatives_of_a_widened_program():
    target = vi_kl.Target.from_numpyro(counts_in_a_loop, Y)
    assert target.narrow
    with jax.enable_x64(True):
        f = jax.jit(lambda z: target.density.log_density(target.data, {"phi": z}))
        derivatives = jax.jit(lambda z: (f(z), jax.grad(f)(z), jax.hessian(f)(z)))(0.2)
    up, here, down = (of_counts(0.2 + step) for step in (1e-4, 0.0, -1e-4))
    assert float(derivatives[0]) == pytest.approx(here, rel=1e-6)
    assert float(derivatives[1]) == pytest.approx((up - down) / 2e-4, rel=1e-5)
    assert float(derivatives[2]) == pytest.approx((up - 2 * here + down) / 1e-8, rel=1e-4)


def normal_mean(y):
    numpyro.sample("y", dist.Normal(numpyro.sample("loc", dist.Normal()), 1.0), obs=y)


def test_a_model_that_suits_64_bits_is_traced_in_them():
    assert not vi_kl.Target.from_numpyro(normal_mean, Y).narrow


def of_every_kind(x):
    """Operations that hold programs of their own, and one of each kind of loop."""
    index = jnp.array([0, 2, 2])
    total = jnp.zeros(4, x.dtype).at[index].add(x).at[index].max(x) + jnp.cumsum(x)[-1]
    spread = jax.lax.reduce(x, jnp.ones((), x.dtype), lambda a, b: a * b + 1, (0,))
    solved = jnp.linalg.solve(jnp.eye(3, dtype=x.dtype) * 2 + x[:, None] * x, x)
    looped = jax.lax.fori_loop(0, 3, lambda i, s: s * 0.9 + x[i], jnp.zeros((), x.dtype))
    chosen = jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x[1])
    again = jax.checkpoint(lambda y: jnp.sum(jnp.exp(y)))(x)
    ordered = jnp.sort(x)[1] * jnp.linalg.cholesky(jnp.eye(3, dtype=x.dtype) + x[:, None] * x)[2, 2]
    special = jax.scipy.special.gammaln(2 + x).sum() + jax.nn.logsumexp(x) + jax.scipy.special.betainc(2.0, 3.0, 0.5)
    return total.sum() + spread + solved.sum() + looped + chosen + again + ordered + special


def test_every_kind_of_operation_is_widened():
    x = np.array([0.3, -0.7, 1.1])
    with jax.enable_x64(False):
        narrow = jax.make_jaxpr(of_every_kind)(jax.ShapeDtypeStruct((3,), np.float32))
    with jax.enable_x64(True):
        widened = jax.jit(jax.value_and_grad(lambda x: Widened({}).run(narrow, [x])[0]))(x)
        exact = jax.jit(jax.value_and_grad(of_every_kind))(x)
    # every constant in it is exact in 24 bits, or was written as a short decimal
    for ours, theirs in zip(widened, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


TURNS = """
    import sys
    import jax, numpy as np, numpyro, numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal
    from numpyro.infer.util import potential_energy
    import vi_kl
    from vi_kl.targets.target import value_and_grad

    index = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    y = np.linspace(-1.0, 1.5, 9) / 3

    held = []

    def model():
        loc = numpyro.sample("loc", dist.Normal(0, 1).expand([3]))
        numpyro.sample("y", dist.Normal(loc[index], 1), obs=y)

    def plain():
        held.append(jax.jit(jax.grad(lambda z: potential_energy(model, (), {}, {"loc": z}))))
        assert held[-1](np.zeros(3)).dtype == "float32"

    def nuts():
        MCMC(NUTS(model), num_warmup=5, num_samples=5, progress_bar=False).run(jax.random.key(0))

    def svi():
        inference = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.01), Trace_ELBO())
        inference.run(jax.random.key(0), 5, progress_bar=False)

    def ours():
        target = vi_kl.Target.from_numpyro(model)
        slope = np.array([y[index == k].sum() for k in range(3)])
        with jax.enable_x64(True):
            gradient = value_and_grad(target, np.zeros(3))[1]
        np.testing.assert_allclose(gradient, slope, rtol=1e-11)  # 1e-8 away if y were rounded to float32
        assert not target.narrow

    for turn in sys.argv[1].split():
        {"plain": plain, "nuts": nuts, "svi": svi, "ours": ours}[turn]()
"""


@pytest.mark.parametrize(
    "turns",
    [
        "plain ours plain",
        pytest.param("ours plain ours", marks=pytest.mark.exhaustive),
        pytest.param("nuts ours", marks=pytest.mark.exhaustive),
        pytest.param("ours svi nuts", marks=pytest.mark.exhaustive),
    ],
)
def test_32_and_64_bits_take_turns_in_one_process(turns):
    """A model that closes over NumPy arrays, integers among them, in NumPyro's 32 bits and in vi_kl's 64."""
    env = {**os.environ, "JAX_ENABLE_X64": "0"}
    run = [sys.executable, "-c", textwrap.dedent(TURNS), turns]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


SEEN = (np.random.default_rng(6).uniform(size=(12, 4)) < 0.5).astype(int)


def survival(seen):
    """A state of 32-bit integers, discrete sites under a mask, and a deterministic site: capture and recapture."""
    stay = numpyro.sample("stay", dist.Uniform(0.0, 1.0))
    found = numpyro.sample("found", dist.Uniform(0.0, 1.0))
    numpyro.deterministic("odds", stay / (1 - stay))

    def step(state, now):
        alive, known = state
        with numpyro.plate("animals", len(seen)), numpyro.handlers.mask(mask=known):
            alive = numpyro.sample("alive", dist.Bernoulli(dist.util.clamp_probs(alive * stay)))
            numpyro.sample("seen", dist.Bernoulli(dist.util.clamp_probs(alive * found)), obs=now)
        return (alive, known | now.astype(bool)), None

    everyone = jnp.ones(len(seen), dtype=jnp.int32)
    scan(step, (everyone, jnp.zeros(len(seen), dtype=bool)), seen.T)


def of_survival(stay, found):
    """The forward algorithm, animal by animal: what is masked is as likely one as the other."""
    total = 0.0
    for row in SEEN:
        alive, dead = 0.5, 0.5
        for time, now in enumerate(row):
            if not row[:time].any():
                continue
            alive, dead = alive * stay, dead + alive * (1 - stay)
            alive, dead = (alive * found, 0.0) if now else (alive * (1 - found), dead)
        total += np.log(alive + dead)
    return total


@pytest.mark.skipif(importlib.util.find_spec("funsor") is None, reason="the extra vi_kl[enum]")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # funsor's and its dependencies' own
@pytest.mark.landing
def test_every_step_of_making_a_target_takes_a_model_of_32_bit_types():
    """Looking for masked and discrete sites, summing them out, deterministic sites: each runs the model."""
    target = vi_kl.Target.from_numpyro(survival, SEEN)
    assert target.narrow
    z = np.array([target.unconstrain({"stay": stay, "found": found}) for stay, found in ((0.6, 0.7), (0.3, 0.4))])
    jacobian = np.log([0.6 * 0.4 * 0.7 * 0.3, 0.3 * 0.7 * 0.4 * 0.6])
    difference = np.subtract(*(np.asarray(target.log_density(z)) - jacobian))
    assert difference == pytest.approx(of_survival(0.6, 0.7) - of_survival(0.3, 0.4), rel=1e-5)
    assert target.density.deterministic == ("odds",)
