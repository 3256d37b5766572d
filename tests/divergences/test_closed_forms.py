"""Every registered pair against 60 digits over adversarial draws, in both precisions; shapes; transformations."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from covering import covering
from mpmath import mpf
from numpyro.distributions.transforms import AffineTransform, ExpTransform
from truths import CASES, Draws, entropies, exact, truncated_gamma, truncation, univariate
from truths.formulas import dirichlet, gamma, multivariate_normal, normal, sigmoid, trial

from vi_kl.divergences import NoClosedForm, cross_entropy, entropy, kl_divergence
from vi_kl.divergences.registry import CLOSED_FORMS, ENTROPIES, KINDS

DRAWS = 6  # measure_accuracy.py takes 10
WORST = {np.float32: 1e-5, np.float64: 1e-12}  # the bar; measured: 1e-7 and 2e-13


# members of a finite sum are brought into one of few makes before a program sees them
BY_FACTORS = (dist.BernoulliProbs, dist.BernoulliLogits, dist.BinomialProbs, dist.BinomialLogits, dist.BetaBinomial)
WAITING = (dist.GeometricProbs, dist.GeometricLogits, dist.GammaPoisson)
MAKES = {
    **dict.fromkeys((*BY_FACTORS, dist.DiscreteUniform), "factors"),
    **dict.fromkeys((*WAITING, dist.NegativeBinomialProbs, dist.NegativeBinomialLogits), "negative binomial"),
}
# truths of one program
SUM, GATED_WAITING = "a finite sum", "negative binomials behind gates"
OF_MAKES = {
    "finite_sum_pair": SUM,
    "gated_sum_pair": SUM,
    "gated_waiting_pair": GATED_WAITING,
    "gated_geometric_pair": GATED_WAITING,
}


def form_of(p_class, q_class):
    """The function registered for the nearest of the classes' parents."""
    pairs = itertools.product(p_class.__mro__, q_class.__mro__)
    return next(CLOSED_FORMS[pair] for pair in pairs if pair in CLOSED_FORMS)


def parts_of_program(form):
    """What the program of a form by moments, or of an entropy by them, was put together from; {} for other forms."""
    program = inspect.signature(form).parameters.get("program")
    return inspect.getclosurevars(inspect.unwrap(program.default)).nonlocals if program else {}


def shows(p_class, q_class, name):
    """What a case shows in float64: a registered function, and its program at work on this p, and on this q.

    Functions made in a loop are one, by their code; which of its programs it takes shows in the name of the truth.
    By moments p is its law, and q what its logarithm is linear in; in a sum they are the makes of the members, and
    elsewhere the classes. An infinite divergence shows neither.
    """
    form = form_of(p_class, q_class)
    if KINDS.get((p_class, q_class)) == "infinite":
        return {form.__code__, (name, "infinite")}
    p, q = (MAKES.get(c, c) for c in (p_class, q_class)) if name in OF_MAKES else (p_class, q_class)
    parts = parts_of_program(form)
    if parts:
        p, q = parts["law"], (parts["transform"], parts["charge"])
    which = OF_MAKES.get(name, (form.__code__, name))
    return {form.__code__, name, (which, "p", p), (which, "q", q)}


def is_side(feature):
    return isinstance(feature, tuple) and len(feature) == 3


def shows_briefly(p_class, q_class, name):
    """The kind of exact expression, and the primitives, which are one file each."""
    return {KINDS.get((p_class, q_class)), form_of(p_class, q_class).__module__}


# The tier of the divergences has a covering set of the cases in each precision, and the exhaustive run all of them: so
# each registered function meets each p and each q that it is for, though not each p with each q. The default run has
# one case of each kind of expression, but for those that take seconds to compile: unbounded sums are there in
# test_counts.py, and moments in a case that is quick.
SLOW = ((dist.Beta, dist.Normal), (dist.GammaPoisson, dist.Poisson), (dist.GammaPoisson, dist.GammaPoisson))
COVERING = {np.float64: covering({case: shows(*case) for case in CASES})}
COVERING[np.float32] = covering({case: shows_briefly(*case) for case in CASES if case in COVERING[np.float64]})
BY_DEFAULT = covering({case: {KINDS.get(case[:2])} for case in sorted(COVERING[np.float64], key=str)})


def cases():
    for case, dtype in itertools.product(CASES, COVERING):
        p_class, q_class, name = case
        label = f"{p_class.__name__}-{q_class.__name__}-{name}-{dtype.__name__}"
        yield pytest.param(case, dtype, id=label, marks=tier_of(case, dtype))


def tier_of(case, dtype):
    if case in BY_DEFAULT and case[:2] not in SLOW and dtype == np.float64:
        return []
    return pytest.mark.divergences if case in COVERING[dtype] else pytest.mark.exhaustive


def test_the_covering_sets_have_every_form():
    """In float64; and in float32 every kind of form."""
    by_default = {form_of(*case[:2]).__code__ for case in COVERING[np.float64]}
    assert by_default == {form.__code__ for pair, form in CLOSED_FORMS.items() if pair not in ANY_CLASS}
    assert {KINDS.get(case[:2]) for case in COVERING[np.float32]} >= set(KINDS.values())


@pytest.mark.parametrize(("name", "dtype"), list(cases()))
def test_relative_error_over_adversarial_draws(name, dtype):
    p_class, q_class, _ = name
    draw = Draws(seed=7, dtype=dtype)
    with jax.enable_x64(dtype == np.float64):
        for _ in range(DRAWS):
            p, q, truth = CASES[name](draw)
            assert (type(p), type(q)) == (p_class, q_class)
            value = kl_divergence(p, q)
            assert value.shape == ()
            assert value.dtype == dtype
            assert value >= 0
            value = float(value)
            beyond = truth > float(np.finfo(dtype).max)
            right = value == np.inf if beyond else abs(value - truth) <= WORST[dtype] * truth
            assert right or truth < 1e-30, (p, q, value, truth)


# no distribution is of the class `Distribution` itself: these are tested in test_structure.py
ANY_CLASS = [
    pair
    for kind in (dist.MaskedDistribution, dist.Delta)
    for pair in ((kind, dist.Distribution), (dist.Distribution, kind))
]


def test_every_registered_pair_has_a_truth():
    """A form without a case would go unchecked."""
    missing = CLOSED_FORMS.keys() - {(p, q) for p, q, _ in CASES} - set(ANY_CLASS)
    assert not missing, [f"{p.__name__}, {q.__name__}" for p, q in missing]


COUNTS = {
    "BernoulliProbs": (1, lambda p: dist.BernoulliProbs(p)),
    "BernoulliLogits": (1, lambda p: dist.BernoulliLogits(np.log(p / (1 - p)))),
    "BinomialProbs": (3, lambda p: dist.BinomialProbs(p, 3)),
    "BinomialLogits": (3, lambda p: dist.BinomialLogits(np.log(p / (1 - p)), 3)),
    "BinomialProbs, 5": (5, lambda p: dist.BinomialProbs(p, 5)),
}


@pytest.mark.parametrize(("left", "right"), list(itertools.product(COUNTS, COUNTS)))
def test_counts_agree_with_their_pmfs(left, right):
    (n, make_p), (m, make_q) = COUNTS[left], COUNTS[right]
    with jax.enable_x64(True):
        pmfs = [binomial_pmf(n, 0.3), binomial_pmf(m, 0.6)]
        truth = kl_divergence(*pmfs)
        assert kl_divergence(make_p(0.3), make_q(0.6)) == pytest.approx(float(truth), rel=1e-12)


def binomial_pmf(n, p, length=6):
    return np.array([float(mpmath.binomial(n, k)) * p**k * (1 - p) ** (n - k) if k <= n else 0 for k in range(length)])


@pytest.mark.divergences
def test_mixed_categorical_the_other_way_round():
    logits, probs = jnp.array([0.1, -2.0, 1.0]), jnp.array([0.5, 0.25, 0.25])
    truth = kl_divergence(jax.nn.softmax(logits), probs)
    assert kl_divergence(dist.Categorical(logits=logits), dist.Categorical(probs=probs)) == pytest.approx(float(truth))


SCALARS = {
    "normal": (dist.Normal, normal, (0.3, 1.5, 0.2, 1.2)),
    "normal, nearly equal": (dist.Normal, normal, (0.3, 1.5, 0.3001, 1.5001)),
    "gamma": (dist.Gamma, gamma, (2.0, 3.0, 0.5, 7.0)),
    "gamma, nearly equal": (dist.Gamma, gamma, (2000.0, 3.0, 2000.5, 3.001)),
    "gamma, small": (dist.Gamma, gamma, (2e-3, 3.0, 1e-3, 7.0)),
    "beta": (dist.Beta, lambda a, b, c, d: dirichlet([a, b], [c, d]), (2.0, 3.0, 0.5, 7.0)),
    "beta, nearly equal": (dist.Beta, lambda a, b, c, d: dirichlet([a, b], [c, d]), (3.0, 4.0, 3.003, 4.0)),
    "beta, large": (dist.Beta, lambda a, b, c, d: dirichlet([a, b], [c, d]), (3e6, 4e6, 3.001e6, 4e6)),
    "bernoulli": (dist.BernoulliProbs, trial, (0.3, 0.31)),
    "bernoulli, far": (dist.BernoulliProbs, trial, (0.3, 1e-6)),
    "logits": (dist.BernoulliLogits, lambda p, q: trial(sigmoid(p), sigmoid(q)), (1.0, 1.001)),
    "logits, far": (dist.BernoulliLogits, lambda p, q: trial(sigmoid(p), sigmoid(q)), (-3.0, 30.0)),
}


@functools.cache
def gradient_program(make, size):
    """One for all parameters of a family."""

    def divergence(*values):
        return kl_divergence(make(*values[: size // 2]), make(*values[size // 2 :]))

    return jax.jit(jax.grad(divergence, argnums=tuple(range(size))))


# in float32 the same slope rounded once more: of one family by default
SLOPES = [pytest.param(name, np.float64) for name in SCALARS] + [
    pytest.param(name, np.float32, marks=[] if name.startswith("gamma") else pytest.mark.exhaustive) for name in SCALARS
]


@pytest.mark.parametrize(("name", "dtype"), SLOPES)
def test_gradients_against_derivatives_in_60_digits(name, dtype):
    make, truth, parameters = SCALARS[name]
    parameters = [dtype(x) for x in parameters]
    with jax.enable_x64(dtype == np.float64):
        gradient = gradient_program(make, len(parameters))(*map(jnp.asarray, parameters))
    point = tuple(exact(x) for x in parameters)
    tolerance = 1e-6 if dtype == np.float32 else 1e-9
    for i, slope in enumerate(gradient):
        order = tuple(int(i == j) for j in range(len(point)))
        expected = mpmath.diff(truth, point, order)
        assert slope.dtype == dtype
        assert abs(float(slope) - expected) <= tolerance * abs(expected)


@pytest.mark.divergences
def test_gradients_of_vectors_against_derivatives_in_60_digits():
    rng = np.random.default_rng(5)
    a, b = np.exp(2 * rng.normal(size=(2, 3)))
    tril_p, tril_q = (np.linalg.cholesky(np.cov(rng.normal(size=(2, 9)))) for _ in range(2))
    loc, zero = rng.normal(size=2), np.zeros(2)

    def of_vectors(loc, tril):
        q = dist.MultivariateNormal(zero, scale_tril=tril_q)
        return kl_divergence(dist.MultivariateNormal(loc, scale_tril=tril), q)

    with jax.enable_x64(True):
        of_concentrations = jax.grad(lambda a, b: kl_divergence(dist.Dirichlet(a), dist.Dirichlet(b)), argnums=(0, 1))
        by_a, by_b = jax.jit(of_concentrations)(a, b)
        by_loc, by_tril = jax.jit(jax.grad(of_vectors, argnums=(0, 1)))(loc, tril_p)

    def partial(function, vector, i):
        return float(mpmath.diff(lambda x: function([*vector[:i], x, *vector[i + 1 :]]), vector[i]))

    x, y = exact(a), exact(b)
    np.testing.assert_allclose(by_a, [partial(lambda v: dirichlet(v, y), x, i) for i in range(3)], rtol=1e-10)
    np.testing.assert_allclose(by_b, [partial(lambda v: dirichlet(x, v), y, i) for i in range(3)], rtol=1e-10)

    def truth(vector):
        """Of the mean and the three entries of the Cholesky factor."""
        loc, tril = vector[:2], [[vector[2], mpf(0)], vector[3:]]
        return multivariate_normal(loc, tril, exact(zero), exact(tril_q))

    point = exact(np.concatenate([loc, tril_p[np.tril_indices(2)]]))
    expected = [partial(truth, point, i) for i in range(5)]
    np.testing.assert_allclose(np.concatenate([by_loc, by_tril[np.tril_indices(2)]]), expected, rtol=1e-10)


MEMBERS = {
    "normal": (lambda x: dist.Normal(x, 1 + x), ()),
    "gamma": (lambda x: dist.Gamma(1 + x, 2.0), ()),
    "beta": (lambda x: dist.Beta(1 + x, 2.0), ()),
    "bernoulli": (lambda x: dist.Bernoulli(probs=x / 20), ()),
    "bernoulli_logits": (lambda x: dist.Bernoulli(logits=x), ()),
    "binomial": (lambda x: dist.Binomial(10, x / 20), ()),
    "dirichlet": (lambda x: dist.Dirichlet(1 + x[..., None] * jnp.arange(1, 4)), (3,)),
    "categorical": (lambda x: dist.Categorical(probs=jnp.stack([x / 20, 1 - x / 20], -1)), ()),
    "categorical_logits": (lambda x: dist.Categorical(logits=x[..., None] * jnp.arange(3)), ()),
    "multivariate_normal": (
        lambda x: dist.MultivariateNormal(x[..., None] * jnp.ones(3), scale_tril=(1 + x[..., None, None]) * jnp.eye(3)),
        (3,),
    ),
    "independent": (lambda x: dist.Normal(x[..., None] * jnp.ones(3), 1.0).to_event(1), (3,)),
}


# a scalar, a discrete one, a vector with a matrix and independent parts; the others' batches take the same way
BY_DEFAULT = ("normal", "binomial", "multivariate_normal", "independent")


def quickly(names, kept):
    """The names, all but the kept ones for the exhaustive run only."""
    return [pytest.param(name, marks=[] if name in kept else pytest.mark.exhaustive) for name in names]


@pytest.mark.divergences
@pytest.mark.parametrize("name", quickly(MEMBERS, BY_DEFAULT))
def test_batches_broadcast_and_transformations_agree(name):
    make, _ = MEMBERS[name]
    left, right = jnp.linspace(1.0, 4.0, 3), jnp.linspace(2.0, 5.0, 2)
    values = kl_divergence(make(left[:, None]), make(right))
    assert values.shape == (3, 2)
    one = jax.jit(lambda a, b: kl_divergence(make(a), make(b)))
    singles = [[one(a, b) for b in right] for a in left]
    np.testing.assert_allclose(values, np.array(singles), rtol=1e-6)
    mapped = jax.jit(jax.vmap(lambda a: kl_divergence(make(a), make(right[0]))))(left)
    np.testing.assert_allclose(mapped, values[:, 0], rtol=1e-6)
    expanded = kl_divergence(make(left[0]).expand([2]), make(right[0]))
    np.testing.assert_allclose(expanded, np.full(2, values[0, 0]), rtol=1e-6)
    assert kl_divergence(make(left[0]), make(left[0])) == 0
    assert np.isfinite(jax.jit(jax.grad(one))(left[0], right[0]))


MAPPED = ["normal", "dirichlet", "bernoulli_logits", "categorical", "categorical_logits"]


@pytest.mark.parametrize("name", quickly(MAPPED, ["normal", "categorical"]))
def test_vmap_over_the_distributions_themselves(name):
    """Under vmap a distribution still declares its whole batch shape; its parameters know better."""
    make, _ = MEMBERS[name]
    p, q = make(jnp.linspace(1.0, 4.0, 3)), make(jnp.linspace(2.0, 5.0, 3))
    np.testing.assert_allclose(jax.vmap(kl_divergence)(p, q), kl_divergence(p, q), rtol=1e-6)


@pytest.mark.divergences
@pytest.mark.parametrize("name", quickly(["gamma", "multivariate_normal"], ["gamma"]))
def test_second_derivatives(name):
    """Reverse over reverse, from float32, against differences of the gradient."""
    make, _ = MEMBERS[name]
    slope = jax.grad(lambda x: kl_divergence(make(x), make(jnp.asarray(2.0))))
    x = jnp.asarray(3.0)
    by_differences = float(slope(x + 0.01) - slope(x - 0.01)) / 0.02
    assert jax.grad(slope)(x) == pytest.approx(by_differences, rel=1e-3)


def test_event_shapes_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"event shape \(2,\) and q has \(3,\)"):
        kl_divergence(dist.Dirichlet(jnp.ones(2)), dist.Dirichlet(jnp.ones(3)))
    with pytest.raises(ValueError, match="event shape"):
        kl_divergence(dist.Normal(jnp.zeros(3), 1.0), dist.Normal(jnp.zeros(3), 1.0).to_event(1))


def test_batch_shapes_that_do_not_broadcast_are_an_error():
    with pytest.raises(ValueError, match=r"do not broadcast: \(2,\) and \(3,\)"):
        kl_divergence(dist.Normal(jnp.zeros(2), 1.0), dist.Normal(jnp.zeros(3), 1.0))


@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_categories_that_differ_in_number_are_an_error(kind):
    three, one = jnp.full(3, 1 / 3), jnp.ones(1)
    with pytest.raises(ValueError, match="p has 3 and q has 1"):
        kl_divergence(dist.Categorical(**{kind: three}), dist.Categorical(**{kind: one}))


INF = np.inf


def by_logits(*logits):
    """Infinite logits, which NumPyro's validation would not pass."""
    if len(logits) == 1:
        return dist.BernoulliLogits(jnp.asarray(logits[0]), validate_args=False)
    return dist.CategoricalLogits(jnp.array(logits), validate_args=False)


@pytest.mark.parametrize(
    ("p", "q", "value"),
    [
        (dist.Bernoulli(0.0), dist.Bernoulli(0.0), 0.0),
        (dist.Bernoulli(1.0), dist.Bernoulli(1.0), 0.0),
        (dist.Bernoulli(0.0), dist.Bernoulli(0.25), -np.log(0.75)),
        (dist.Bernoulli(1.0), dist.Bernoulli(0.25), -np.log(0.25)),
        (dist.Bernoulli(0.5), dist.Bernoulli(0.0), INF),
        (dist.Bernoulli(0.5), dist.Bernoulli(1.0), INF),
        (by_logits(INF), by_logits(0.0), np.log(2)),
        (by_logits(0.0), by_logits(-INF), INF),
        (by_logits(-800.0), by_logits(800.0), 800.0),
        (dist.Binomial(5, 1.0), dist.Binomial(5, 0.5), 5 * np.log(2)),  # torch: -inf
        (dist.Binomial(5, 0.5), dist.Binomial(4, 0.5), INF),
        (dist.Binomial(5, 0.0), dist.Binomial(4, 0.5), 4 * np.log(2)),
        (dist.Binomial(5, 0.0), dist.Binomial(4, 0.0), 0.0),
        (dist.Binomial(4, 1.0), dist.Binomial(5, 1.0), INF),
        (dist.Binomial(4, 1.0), dist.Binomial(5, 0.5), np.log(32 / 5)),
        (dist.Binomial(4, 0.5), dist.Binomial(5, 0.0), INF),
        (dist.Categorical(jnp.array([0.0, 1.0])), dist.Categorical(jnp.array([0.5, 0.5])), np.log(2)),
        (dist.Categorical(jnp.array([0.5, 0.5])), dist.Categorical(jnp.array([0.0, 1.0])), INF),
        (by_logits(-INF, 0.0), by_logits(0.0, 0.0), np.log(2)),
        (by_logits(0.0, 0.0), by_logits(-INF, 0.0), INF),
        (by_logits(-INF, 0.0), by_logits(-INF, 3.0), 0.0),
        (by_logits(-1000.0, 0.0), by_logits(0.0, 0.0), np.log(2)),
    ],
)
def test_boundary_parameters(p, q, value):
    assert float(kl_divergence(p, q)) == pytest.approx(value, rel=1e-6)


@pytest.mark.divergences
def test_gradients_stay_finite_at_the_boundary():
    q = dist.Categorical(jnp.array([0.2, 0.3, 0.5]))
    by_p = jax.grad(lambda p: kl_divergence(dist.Categorical(p), q))(jnp.array([0.0, 0.5, 0.5]))
    by_q = jax.grad(lambda x: kl_divergence(dist.Categorical(jnp.array([0.0, 0.5, 0.5])), dist.Categorical(x)))(q.probs)
    np.testing.assert_allclose(by_p, [0.0, np.log(5 / 3) + 1, 1.0], rtol=1e-6)
    np.testing.assert_allclose(by_q, [0.0, -5 / 3, -1.0], rtol=1e-6)
    masked = by_logits(-INF, 0.0, 0.0)
    gradient = jax.grad(lambda x: kl_divergence(masked, dist.Categorical(logits=x)))(jnp.zeros(3))
    np.testing.assert_allclose(gradient, [1 / 3, -1 / 6, -1 / 6], atol=1e-6)
    assert jax.grad(lambda p: kl_divergence(dist.Bernoulli(0.0), dist.Bernoulli(p)))(0.25) == pytest.approx(4 / 3)


@pytest.mark.divergences
def test_batches_of_different_numbers_of_trials():
    trials_p, trials_q = np.array([1, 4, 5]), np.array([1, 6, 4])
    p, q = jnp.array([0.3, 0.4, 0.5]), jnp.array([0.5, 0.3, 0.5])
    values = kl_divergence(dist.Binomial(trials_p, p), dist.Binomial(trials_q, q))
    singles = [
        kl_divergence(dist.Binomial(int(n), a), dist.Binomial(int(m), b))
        for n, a, m, b in zip(trials_p, p, trials_q, q, strict=True)
    ]
    np.testing.assert_allclose(values, np.array(singles), rtol=1e-6)
    assert values[2] == np.inf


@pytest.fixture(scope="module")
def traced_trials():
    return (
        dist.Binomial(jnp.array([3, 5, 3, 10, 0]), jnp.full(5, 0.3)),
        dist.Binomial(jnp.array([3, 3, 5, 1000, 2]), jnp.full(5, 0.4)),
    )


@pytest.mark.divergences
def test_traced_numbers_of_trials(traced_trials):
    """As where they are known: a sum of a length that the program finds out."""
    expected = kl_divergence(*traced_trials)
    np.testing.assert_allclose(jax.jit(kl_divergence)(*traced_trials), expected, rtol=1e-6)


@pytest.mark.exhaustive
def test_traced_numbers_of_trials_under_vmap_and_grad(traced_trials):
    mapped = jax.jit(jax.vmap(kl_divergence))(*traced_trials)
    np.testing.assert_allclose(mapped, kl_divergence(*traced_trials), rtol=1e-6)
    q = dist.Binomial(12, 0.3)
    slope = jax.jit(jax.grad(lambda x, n: kl_divergence(dist.Binomial(n, x), q)))(0.3, 10)
    assert slope == pytest.approx(float(jax.grad(lambda x: kl_divergence(dist.Binomial(10, x), q))(0.3)), rel=1e-5)


def test_subclasses_use_their_parents_form():
    assert kl_divergence(dist.Chi2(4.0), dist.Gamma(2.0, 0.7)) == kl_divergence(
        dist.Gamma(2.0, 0.5), dist.Gamma(2.0, 0.7)
    )


@pytest.mark.divergences
def test_an_independent_that_is_not_normal_has_no_form_with_a_multivariate_normal():
    vector = dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))
    with pytest.raises(NoClosedForm, match=r"Independent\(Laplace\)"):
        kl_divergence(dist.Laplace(jnp.zeros(2), 1.0).to_event(1), vector)


@pytest.mark.divergences
def test_independent_normal_of_any_making_is_a_multivariate_normal():
    q = dist.MultivariateNormal(jnp.ones(3), scale_tril=2 * jnp.eye(3))
    plain = dist.Normal(jnp.zeros(3), jnp.ones(3)).to_event(1)
    expanded = dist.Normal(0.0, 1.0).expand([3]).to_event(1)
    vector = dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3))
    truth = kl_divergence(vector, q)
    assert kl_divergence(plain, q) == pytest.approx(float(truth))
    assert kl_divergence(expanded, q) == pytest.approx(float(truth))
    reverse = kl_divergence(q, vector)
    assert kl_divergence(q, expanded) == pytest.approx(float(reverse))


@pytest.mark.landing
def test_independent_event_dimensions_add_up():
    rows = jnp.arange(6.0).reshape(2, 3)
    p, q = dist.Gamma(1 + rows, 1.0), dist.Gamma(2 + rows, 1.0)
    single = kl_divergence(p, q)
    np.testing.assert_allclose(kl_divergence(p.to_event(1), q.to_event(1)), single.sum(-1), rtol=1e-6)
    np.testing.assert_allclose(kl_divergence(p.to_event(2), q.to_event(2)), single.sum(), rtol=1e-6)
    vectors = [dist.Dirichlet(1 + rows).to_event(1), dist.Dirichlet(2 + rows).to_event(1)]
    assert kl_divergence(*vectors).shape == ()


def univariate_entropy(family):
    member, parameters = univariate.FAMILIES[family], univariate.MODERATE_P[family]
    return entropies.in_float64(member.build(*parameters)), member.law(*map(mpf, parameters)).entropy


# made where they are tested: NumPyro compiles to make some of them
ENTROPY_TRUTHS = {
    **{family: functools.partial(univariate_entropy, family) for family in univariate.FAMILIES},
    **entropies.TRUTHS,
    dist.Delta: lambda: (dist.Delta(0.5), lambda: mpf(0)),
    **truncated_gamma.ENTROPY_TRUTHS,
    **truncation.ENTROPY_TRUTHS,
    dist.Normal: lambda: (dist.Normal(0.0, 3.0), lambda: mpmath.log(3) + mpmath.log(2 * mpmath.pi * mpmath.e) / 2),
    dist.Gamma: lambda: (dist.Gamma(2e5, 3.0), lambda: gamma_entropy(2e5) - mpmath.log(3)),
    dist.Beta: lambda: (dist.Beta(3e-2, 4e6), lambda: dirichlet_entropy([np.float64(3e-2), 4e6])),
    dist.Dirichlet: lambda: (dist.Dirichlet(np.array([1e-2, 3.0, 500.0])), lambda: dirichlet_entropy([1e-2, 3, 500])),
    dist.MultivariateNormal: lambda: (
        dist.MultivariateNormal(np.zeros(2), scale_tril=np.array([[2.0, 0], [1, 5]])),
        lambda: mpmath.log(10) + mpmath.log(2 * mpmath.pi * mpmath.e),
    ),
    dist.BernoulliProbs: lambda: (dist.BernoulliProbs(0.3), lambda: discrete_entropy([0.3, 0.7])),
    dist.BernoulliLogits: lambda: (dist.BernoulliLogits(np.log(3 / 7)), lambda: discrete_entropy([0.3, 0.7])),
    dist.BinomialProbs: lambda: (dist.BinomialProbs(0.25, 2), lambda: discrete_entropy([1 / 16, 6 / 16, 9 / 16])),
    dist.BinomialLogits: lambda: (
        dist.BinomialLogits(-np.log(3), 2),
        lambda: discrete_entropy([1 / 16, 6 / 16, 9 / 16]),
    ),
    dist.CategoricalProbs: lambda: (
        dist.CategoricalProbs(np.array([0, 0.3, 0.7])),
        lambda: discrete_entropy([0.3, 0.7]),
    ),
    dist.CategoricalLogits: lambda: (dist.CategoricalLogits(np.log([0.3, 0.7])), lambda: discrete_entropy([0.3, 0.7])),
    dist.ZeroInflatedProbs: lambda: (
        dist.ZeroInflatedDistribution(dist.BernoulliProbs(0.5), gate=0.4),
        lambda: discrete_entropy([0.7, 0.3]),
    ),
    dist.HurdleProbs: lambda: (dist.HurdleProbs(dist.BernoulliProbs(0.5), 0.4), lambda: discrete_entropy([0.4, 0.6])),
    dist.BetaBinomial: lambda: (
        dist.BetaBinomial(1.0, 2.0, 2),
        lambda: discrete_entropy([mpf(x) / 6 for x in (3, 2, 1)]),
    ),
    dist.DiscreteUniform: lambda: (dist.DiscreteUniform(-2, 4), lambda: mpmath.log(7)),
    dist.GeometricProbs: lambda: (
        dist.GeometricProbs(1e-6),
        lambda: discrete_entropy([1e-6, 1 - mpf(1e-6)]) / mpf(1e-6),
    ),
    dist.GeometricLogits: lambda: (
        dist.GeometricLogits(np.log(3 / 7)),
        lambda: discrete_entropy([0.3, 0.7]) / mpf(0.3),
    ),
    dist.Poisson: lambda: (
        dist.Poisson(2.5),
        lambda: counts_entropy(mpmath.exp(mpf(-2.5)), lambda k: mpf(2.5) / (k + 1)),
    ),
    dist.GammaPoisson: lambda: (
        dist.GammaPoisson(1.5, 1.0),
        lambda: counts_entropy(mpf(0.5) ** mpf(1.5), lambda k: mpf(0.5) * (mpf(1.5) + k) / (k + 1)),
    ),
    dist.TransformedDistribution: lambda: (
        dist.TransformedDistribution(dist.Gamma(2.0, 3.0), [AffineTransform(1.0, -4.0), ExpTransform()]),
        lambda: gamma_entropy(2) - mpmath.log(3) + mpmath.log(4) + 1 - mpf(8) / 3,
    ),
    dist.Independent: lambda: (
        dist.Normal(np.zeros(4), 3.0).to_event(1),
        lambda: 4 * (mpmath.log(3) + mpmath.log(2 * mpmath.pi * mpmath.e) / 2),
    ),
}


def gamma_entropy(a):
    return mpf(a) + mpmath.loggamma(mpf(a)) + (1 - mpf(a)) * mpmath.digamma(mpf(a))


def dirichlet_entropy(a):
    a = [mpf(float(x)) for x in a]
    total = sum(a)
    value = sum(mpmath.loggamma(x) - (x - 1) * mpmath.digamma(x) for x in a) - mpmath.loggamma(total)
    return value + (total - len(a)) * mpmath.digamma(total)


def counts_entropy(pmf, ratio):
    """From the pmf at 0 and the ratio of the next to it at each count."""
    total = mpf(0)
    for k in range(1000):
        total, pmf = total - pmf * mpmath.log(pmf), pmf * ratio(k)
    return total


def discrete_entropy(p):
    return -sum(mpf(x) * mpmath.log(mpf(x)) for x in p)


LAWS_BY_MOMENTS = {p for case in COVERING[np.float64] for _, side, p in filter(is_side, shows(*case)) if side == "p"}


def shows_of_entropy(kind):
    """By moments only how the law's own is used: the law is held to its truth by its divergences above."""
    parts = parts_of_program(ENTROPIES[kind])
    return {("by moments", parts["of_logarithm"]), *{parts["law"]} - LAWS_BY_MOMENTS} if parts else {kind}


ENTROPIES_BY_DEFAULT = covering({kind: shows_of_entropy(kind) for kind in ENTROPIES})


@pytest.mark.parametrize("kind", quickly(ENTROPIES, ENTROPIES_BY_DEFAULT))
def test_entropies(kind):
    p, truth = ENTROPY_TRUTHS[kind]()
    with jax.enable_x64(True):
        assert float(entropy(p)) == pytest.approx(float(truth()), rel=1e-12)
    assert float(entropy(p, base=2)) == pytest.approx(float(truth() / mpmath.log(2)), rel=1e-6)


@pytest.mark.divergences
def test_cross_entropy_is_entropy_and_divergence():
    p, q = dist.Gamma(2.0, 3.0), dist.Gamma(2.5, 3.0)
    assert cross_entropy(p, q) == pytest.approx(float(entropy(p) + kl_divergence(p, q)), rel=1e-6)
    draws = np.asarray(p.sample(jax.random.key(0), (20_000,)))
    log_q = np.asarray(q.log_prob(draws))
    assert abs(float(cross_entropy(p, q)) + log_q.mean()) < 4 * log_q.std() / np.sqrt(len(draws))


def test_bits_are_nats_over_log_two():
    p, q = dist.Normal(0.0, 1.0), dist.Normal(1.0, 1.0)
    assert kl_divergence(p, q) == pytest.approx(0.5)
    assert kl_divergence(p, q, base=2) == pytest.approx(0.5 / np.log(2))
