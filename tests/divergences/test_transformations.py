"""What JAX does to a function changes no divergence: export of a symbolic batch, leak checks; and extreme scales."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import export

from vi_kl.divergences import entropy, estimate_kl, float64, kl_divergence, renyi

# functions of a batch of numbers, or of vectors of three
OF_NUMBERS = {
    "normal": lambda x: kl_divergence(dist.Normal(x, 1.0), dist.Normal(0.0, 2.0)),
    "NumPy's digits": lambda x: kl_divergence(dist.Normal(x, np.float64(1.5)), dist.Normal(0.0, 2.0)),
    "gamma": lambda x: kl_divergence(dist.Gamma(x, 1.0), dist.Gamma(2.0, 1.0)),
    "a sum": lambda x: kl_divergence(dist.Poisson(x), dist.Geometric(0.5)),
    "moments": lambda x: kl_divergence(dist.LogNormal(x, 1.0), dist.Gamma(2.0, 1.0)),
    "infinite": lambda x: kl_divergence(dist.Normal(x, 1.0), dist.HalfNormal(1.0)),
    "entropy": lambda x: entropy(dist.Gamma(x, 1.0)),
    "renyi": lambda x: renyi(dist.Normal(x, 1.0), dist.Normal(0.0, 2.0), 0.5),
    "gradient": jax.grad(lambda x: kl_divergence(dist.Normal(x, 1.0), dist.Normal(0.0, 2.0)).sum()),
}
OF_VECTORS = {
    "independent": lambda x: kl_divergence(
        dist.Normal(x, 1.0).to_event(1), dist.Normal(0.0, 2.0).expand((3,)).to_event(1)
    ),
    "two kinds": lambda x: kl_divergence(
        dist.Normal(x, 1.0).to_event(1), dist.MultivariateNormal(jnp.zeros(3), 2 * jnp.eye(3))
    ),
    "covariance": lambda x: kl_divergence(
        dist.MultivariateNormal(x, jnp.eye(3)), dist.MultivariateNormal(jnp.zeros(3), 2 * jnp.eye(3))
    ),
    "categories": lambda x: kl_divergence(dist.Categorical(logits=x), dist.Categorical(jnp.full(3, 1 / 3))),
    "pmf arrays": lambda x: kl_divergence(jax.nn.softmax(x), jnp.array([0.2, 0.3, 0.5])),
}
QUICK = ("NumPy's digits", "pmf arrays", "two kinds")
FUNCTIONS = {**{name: (f, ()) for name, f in OF_NUMBERS.items()}, **{name: (f, (3,)) for name, f in OF_VECTORS.items()}}
MARKED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in FUNCTIONS]


@pytest.mark.parametrize("name", MARKED)
def test_a_batch_of_symbolic_size_is_exported(name):
    function, event = FUNCTIONS[name]
    (batch,) = export.symbolic_shape("batch")
    exported = export.export(jax.jit(function))(jax.ShapeDtypeStruct((batch, *event), jnp.float32))
    values = jnp.linspace(0.2, 1.0, 4 * int(np.prod(event))).reshape(4, *event)
    np.testing.assert_allclose(exported.call(values), function(values), rtol=1e-6)


@pytest.mark.divergences
@pytest.mark.parametrize("name", MARKED)
def test_nothing_leaks(name):
    function, event = FUNCTIONS[name]
    with jax.checking_leaks():
        jax.jit(jax.vmap(function))(jnp.full((2, *event), 0.4))


@pytest.mark.divergences
def test_large_arrays_and_small_ones_give_the_same():
    """Large ones are converted to float64 inside the compiled program."""
    rng = np.random.default_rng(5)
    size = float64.SMALL + 1
    loc, scale = (jnp.asarray(rng.uniform(0.5, 2, size), jnp.float32) for _ in range(2))
    digits = rng.uniform(0.5, 2, size)  # a NumPy array, whose float64 digits count

    def divergence(loc, scale, digits):
        return kl_divergence(dist.Normal(loc, digits), dist.Normal(0.1, scale))

    gradient = jax.grad(lambda *arrays: divergence(*arrays).sum(), argnums=(0, 1))
    for function in (divergence, gradient):
        large = function(loc, scale, digits)
        small = function(loc[:9], scale[:9], digits[:9])
        for a, b in zip(jax.tree.leaves(large), jax.tree.leaves(small), strict=True):
            assert a.dtype == jnp.float32
            np.testing.assert_allclose(a[:9], b, rtol=2e-7)
    values = divergence(loc, scale, digits)
    loc, scale = np.asarray(loc, float), np.asarray(scale, float)
    truth = np.log(scale / digits) + (digits**2 + (loc - 0.1) ** 2) / (2 * scale**2) - 0.5
    np.testing.assert_allclose(values, truth, rtol=2e-7)


def normal_truth(scale_p, scale_q):
    with mpmath.workdps(40):
        ratio = mpmath.mpf(scale_p) / mpmath.mpf(scale_q)
        return float((ratio**2 - 1) / 2 - mpmath.log(ratio))


SMALL, LARGE = 1e-160, 1e160
BY_SCALE = {  # classes by their scale, and the truth at the ratio 1e-320
    "normal": (lambda s: dist.Normal(0.0, s), normal_truth(SMALL, LARGE)),
    "independent": (lambda s: dist.Normal(jnp.zeros(2), s).to_event(1), 2 * normal_truth(SMALL, LARGE)),
    "vector": (
        lambda s: dist.MultivariateNormal(jnp.zeros(2), scale_tril=s * jnp.eye(2)), 2 * normal_truth(SMALL, LARGE)
    ),
    "random walk": (lambda s: dist.GaussianRandomWalk(s, 3), 3 * normal_truth(SMALL, LARGE)),
    "log-normal": (lambda s: dist.LogNormal(0.0, s), normal_truth(SMALL, LARGE)),
    "Laplace": (lambda s: dist.Laplace(0.0, s), 320 * np.log(10) - 1),
    "Cauchy": (lambda s: dist.Cauchy(0.0, s), 320 * np.log(10) - 2 * np.log(2)),
    "half-Cauchy": (dist.HalfCauchy, 320 * np.log(10) - 2 * np.log(2)),
    "exponential": (lambda s: dist.Exponential(1 / s), 320 * np.log(10) - 1),
    "gamma": (lambda s: dist.Gamma(2.0, 1 / s), 2 * (320 * np.log(10) - 1)),
    "uniform": (lambda s: dist.Uniform(0.0, s), 320 * np.log(10)),
    "Wishart": (
        lambda s: dist.Wishart(4.0, scale_tril=s * jnp.eye(2)), 4 * (640 * np.log(10) - 1)  # 2 on each diagonal entry
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_SCALE)
def test_scales_whose_quotient_leaves_the_floating_range(name):
    make, truth = BY_SCALE[name]
    with jax.enable_x64(True):
        narrow, wide = make(jnp.float64(SMALL)), make(jnp.float64(LARGE))
        assert float(kl_divergence(narrow, wide)) == pytest.approx(truth, rel=1e-12)
        back = float(kl_divergence(wide, narrow))
    assert back == (pytest.approx(truth, rel=1e-12) if "Cauchy" in name else np.inf)


@pytest.mark.divergences
def test_matrices_are_drawn_a_part_at_a_time():
    """XLA took minutes over a batch of 100,000 small matrices."""
    p, q = dist.Wishart(5.0, scale_tril=jnp.eye(3)), dist.InverseWishart(5.0, scale_tril=jnp.eye(3))
    estimate = estimate_kl(p, q, key=jax.random.key(0), method="monte_carlo", num_draws=3000)
    assert estimate.num_draws == 3000
    assert abs(estimate.value - wishart_truth()) < 4 * estimate.standard_error
    with pytest.raises(ValueError, match="takes 2,000,000 trials, and 100,000 draws too long"):
        estimate_kl(
            dist.Multinomial(10**6, jnp.array([0.5, 0.5])),
            dist.DirichletMultinomial(jnp.ones(2), 10**6),
            key=jax.random.key(0),
            method="monte_carlo",
        )


def wishart_truth(size=3, freedom=5.0):
    """Of W(5, I) from its inverse's law: (n + d + 1) E log det X + (E tr X^-1 - E tr X) / 2 by the two densities."""
    from scipy.special import digamma

    log_det = sum(digamma((freedom - i) / 2) for i in range(size)) + size * np.log(2)
    trace, trace_of_inverse = freedom * size, size / (freedom - size - 1)
    exponents = (freedom - size - 1) / 2 + (freedom + size + 1) / 2
    return exponents * log_det - trace / 2 + trace_of_inverse / 2
