"""NaN in, NaN out: every registered pair and entropy, every f-divergence, arrays; traced and not; values and slopes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from nan_places import failures, failures_without_tracing
from truths import CASES, Draws

from vi_kl.divergences import (
    NoClosedForm,
    alpha_divergence,
    bhattacharyya,
    chi_squared,
    code_lengths,
    cross_entropy,
    entropy,
    estimate_f_divergence,
    estimate_kl,
    hellinger,
    jensen_shannon,
    kl_divergence,
    mixture_kl_bounds,
    renyi,
    smooth,
    squared_hellinger,
    total_variation,
)
from vi_kl.divergences.registry import ENTROPIES

PAIRS = {case[:2]: case for case in reversed(CASES)}  # one case for each pair of classes
# of the forms, those that compile quickly, and the shapes of parameters: one of each for the default run
QUICK = {
    (dist.Normal, dist.Normal),
    (dist.Poisson, dist.Poisson),
    (dist.Gamma, dist.HalfNormal),
    (dist.CategoricalLogits, dist.CategoricalLogits),
    (dist.Delta, dist.Delta),
    (dist.Uniform, dist.Uniform),
}


def label(pair):
    return "-".join(kind.__name__ for kind in pair)


@pytest.mark.divergences
@pytest.mark.parametrize(
    "pair", [pytest.param(p, id=label(p), marks=[] if p in QUICK else pytest.mark.exhaustive) for p in PAIRS]
)
def test_a_nan_in_any_parameter_of_a_registered_pair(pair):
    p, q, _ = CASES[PAIRS[pair]](Draws(seed=7, dtype=np.float32))
    assert failures(kl_divergence, p, q) == []
    assert failures_without_tracing(kl_divergence, p, q) == []


P_CASES = {case[0]: case for case in reversed(CASES)}
QUICK_ENTROPIES = {dist.Normal, dist.CategoricalLogits, dist.Gamma}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=kind.__name__, marks=[] if kind in QUICK_ENTROPIES else pytest.mark.exhaustive)
        for kind in ENTROPIES
        if kind in P_CASES
    ],
)
def test_a_nan_in_any_parameter_of_an_entropy(kind):
    p, _, _ = CASES[P_CASES[kind]](Draws(seed=7, dtype=np.float32))
    try:
        entropy(p)
    except NoClosedForm:
        pytest.skip("this member has none")
    assert failures(entropy, p) == []
    assert failures_without_tracing(entropy, p) == []


F_DIVERGENCES = {
    "jensen_shannon": jensen_shannon,
    "total_variation": total_variation,
    "squared_hellinger": squared_hellinger,
    "hellinger": hellinger,
    "bhattacharyya": bhattacharyya,
    "chi_squared": chi_squared,
    **{f"renyi {order}": functools.partial(renyi, order=order) for order in (0.0, 0.5, 1.0, 3.0, np.inf, -1.0)},
    **{f"alpha {alpha}": functools.partial(alpha_divergence, alpha=alpha) for alpha in (0.0, 0.5, 1.0, 2.0)},
}
MEMBERS = {
    "normal": lambda x: dist.Normal(x, 1 + x),
    "log-normal": lambda x: dist.LogNormal(x, 1 + x),
    "half-normal": lambda x: dist.HalfNormal(1 + x),
    "exponential": lambda x: dist.Exponential(1 + x),
    "gamma": lambda x: dist.Gamma(1 + x, 2 + x),
    "beta": lambda x: dist.Beta(1 + x, 2 + x),
    "vector": lambda x: dist.MultivariateNormal(jnp.full(2, x), scale_tril=jnp.eye(2) + x * jnp.tri(2)),
    "poisson": lambda x: dist.Poisson(1 + x),
    "geometric": lambda x: dist.GeometricProbs(x),
    "bernoulli": lambda x: dist.BernoulliLogits(x),
    "binomial": lambda x: dist.BinomialProbs(x, 3),
    "categorical": lambda x: dist.CategoricalProbs(jnp.array([x, 1 - x])),
    "categorical by logits": lambda x: dist.CategoricalLogits(jnp.array([x, 1.0, -x])),
    "independent": lambda x: dist.Normal(jnp.array([x, 1.0]), 1 + x).to_event(1),
}
QUICK_F = {("normal", "hellinger")}
# every kind for one member of each kind of form, and for the others one kind of each way to compute
WHOLE_F = ("normal", "gamma", "binomial", "categorical")
COVERING_F = ("jensen_shannon", "hellinger", "chi_squared", "renyi 3.0")


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        pytest.param(m, k, marks=[] if (m, k) in QUICK_F else pytest.mark.exhaustive)
        for m in MEMBERS
        for k in (F_DIVERGENCES if m in WHOLE_F else COVERING_F)
    ],
)
def test_a_nan_in_any_parameter_of_an_f_divergence(member, kind):
    p, q = (MEMBERS[member](jnp.float32(x)) for x in (0.25, 0.5))
    try:
        F_DIVERGENCES[kind](p, q)
    except NoClosedForm:
        pytest.skip("it has no closed form")
    assert failures(F_DIVERGENCES[kind], p, q) == []
    assert failures_without_tracing(F_DIVERGENCES[kind], p, q) == []


ARRAY_FUNCTIONS = {"kl": kl_divergence, "cross-entropy": cross_entropy, **F_DIVERGENCES}
QUICK_ARRAYS = ("kl", "cross-entropy", "hellinger", "renyi 3.0")
NO_PMFS = {
    "NaN": [[np.nan] * 3, [0.5, 0.5, np.nan]],
    "negative": [[1.25, -0.25, 0.0]],
    "another sum": [[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]],
    "infinite": [[np.inf, 0.5, 0.5]],
}


@pytest.mark.parametrize(
    "kind", [k if k in QUICK_ARRAYS else pytest.param(k, marks=pytest.mark.exhaustive) for k in ARRAY_FUNCTIONS]
)
def test_arrays_that_are_no_pmfs_are_nan_while_traced(kind):
    """In their rows only: values, and the slopes by them."""
    function = ARRAY_FUNCTIONS[kind]
    rows = np.array([row for rows in NO_PMFS.values() for row in rows], dtype=np.float32)
    right = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    both = np.concatenate([rows, right[None]])
    program = jax.jit(jax.vmap(jax.value_and_grad(lambda p, q: function(p, q), argnums=(0, 1))))
    others = np.broadcast_to(np.array([0.5, 0.25, 0.25], dtype=np.float32), both.shape)
    for i, pair in enumerate(((both, others), (others, both))):
        values, slopes = program(*pair)
        assert np.isnan(values[:-1]).all()
        assert np.isfinite(values[-1])
        assert np.isnan(slopes[i][:-1]).all()
        assert np.isfinite(slopes[i][-1]).all()
    for row in rows:
        with pytest.raises(ValueError, match=r"must be finite|not be negative|sums to"):
            function(row, right)


def test_entropies_and_code_lengths_of_arrays():
    for function in (entropy, lambda p: code_lengths(p).sum(), lambda p: smooth(p).sum()):
        value, slope = jax.jit(jax.value_and_grad(function))(jnp.array([0.5, jnp.nan]))
        assert np.isnan(value)
        assert np.isnan(slope).all()
    assert np.isnan(jax.jit(lambda p: kl_divergence(p, p, normalize=True))(jnp.array([2.0, -1.0])))
    assert jax.jit(lambda p: kl_divergence(p, p, normalize=True))(jnp.array([2.0, 1.0])) == 0


OUT_OF_RANGE = {
    "Poisson": lambda x: dist.Poisson(-x),
    "Bernoulli": lambda x: dist.Bernoulli(x + 0.5),
    "Normal": lambda x: dist.Normal(0.0, -x),
    "Gamma": lambda x: dist.Gamma(2.0, -x),
    "Uniform": lambda x: dist.Uniform(x, -x),
    "Binomial": lambda x: dist.Binomial(3, -x),
    "Geometric": lambda x: dist.GeometricProbs(1 + x),
    "Categorical": lambda x: dist.Categorical(probs=jnp.array([x, 1.0])),
    "Dirichlet": lambda x: dist.Dirichlet(jnp.array([1.0, -x])),
    "vector": lambda x: dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(jnp.array([1.0, -x]))),
    "scaled": lambda x: dist.TransformedDistribution(dist.Gamma(-x, 1.0), dist.transforms.AffineTransform(0.0, 1.0)),
}
RIGHT = {
    "Poisson": lambda: dist.Poisson(1.0),
    "Bernoulli": lambda: dist.Bernoulli(0.5),
    "Normal": lambda: dist.Normal(0.0, 1.0),
    "Gamma": lambda: dist.Gamma(2.0, 1.0),
    "Uniform": lambda: dist.Uniform(-9.0, 9.0),
    "Binomial": lambda: dist.Binomial(3, 0.5),
    "Geometric": lambda: dist.GeometricProbs(0.5),
    "Categorical": lambda: dist.Categorical(probs=jnp.array([0.5, 0.5])),
    "Dirichlet": lambda: dist.Dirichlet(jnp.ones(2)),
    "vector": lambda: dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
    "scaled": lambda: dist.TransformedDistribution(dist.Gamma(2.0, 1.0), dist.transforms.AffineTransform(0.0, 1.0)),
}


@pytest.mark.parametrize("kind", OUT_OF_RANGE)
def test_parameters_out_of_range_are_nan_while_traced(kind):
    make, right = OUT_OF_RANGE[kind], RIGHT[kind]()
    values = jax.jit(lambda x: (kl_divergence(make(x), right), kl_divergence(right, make(x))))(1.0)
    assert np.isnan(values).all()


def test_in_a_batch_only_its_own_entry_is_nan():
    rates = jnp.array([1.0, jnp.nan, 2.0])
    for divergence in (kl_divergence, jax.jit(kl_divergence)):
        value = divergence(dist.Poisson(rates, validate_args=False), dist.Poisson(1.5))
        np.testing.assert_array_equal(np.isnan(value), [False, True, False])
    beyond = jax.jit(lambda loc: kl_divergence(dist.Normal(loc, 1.0), dist.Gamma(2.0, 1.0)))(rates)
    np.testing.assert_array_equal(beyond, [np.inf, np.nan, np.inf])
    masked = dist.Poisson(rates, validate_args=False).mask(jnp.array([True, False, True]))
    assert np.isfinite(jax.jit(kl_divergence)(masked, dist.Poisson(1.5))).all()  # what is masked counts nothing


def test_estimates_and_bounds_name_the_parameter(key):
    wrong, right = dist.Normal(0.0, jnp.nan, validate_args=False), dist.Normal(0.0, 1.0)
    mixture = dist.MixtureSameFamily(
        dist.Categorical(probs=jnp.ones(2) / 2), dist.Normal(jnp.array([0.0, jnp.nan]), 1.0, validate_args=False)
    )
    for method in ("auto", "quadrature", "monte_carlo"):
        with pytest.raises(ValueError, match="q, Normal, has a parameter that is NaN or outside its range: scale"):
            estimate_kl(right, wrong, method=method, key=key)
    with pytest.raises(ValueError, match="p, Normal, has a parameter that is NaN"):
        estimate_f_divergence(wrong, right, "hellinger", key=key)
    for function in (estimate_kl, mixture_kl_bounds):
        with pytest.raises(ValueError, match=r"p, MixtureSameFamily, has a parameter that is NaN.*: loc"):
            function(mixture, right)
