"""Expressions: what they stand for, and that every mistake is found, placed and explained."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from vi_kl.cli.divergence.constraint_text import describe_constraint
from vi_kl.cli.divergence.expressions import Reader, parse, read_expression
from vi_kl.cli.divergence.input_errors import ExpressionError, Place
from vi_kl.cli.divergence.namespace import LEFT_OUT, constructors, signature
from vi_kl.core.suggestions import nearest

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def value_of(source):
    return Reader(source).read(parse(source))


def mistake_in(source) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        read_expression(source)
    return caught.value


def mistake_if_any(source) -> ExpressionError | None:
    try:
        read_expression(source)
    except ExpressionError as error:
        return error
    return None


def two_kinds(x):
    return np.log(0.3 * stats.norm.pdf(x, -1, 1) + 0.7 * stats.norm.pdf(x, 2, 0.5))


MEANT = {  # what an expression's log density is, by SciPy, at a point
    "Gamma(2, 3)": (0.7, lambda x: stats.gamma.logpdf(x, 2, scale=1 / 3)),
    "Gamma(concentration=2, rate=3)": (0.7, lambda x: stats.gamma.logpdf(x, 2, scale=1 / 3)),
    "LogNormal(-1, 2**0.5)": (0.7, lambda x: stats.lognorm.logpdf(x, math.sqrt(2), scale=math.exp(-1))),
    "VonMises(-pi/2, 1e1)": (-1.0, lambda x: stats.vonmises.logpdf(x, 10, loc=-math.pi / 2)),
    "TruncatedNormal(0, 1, low=-1)": (0.7, lambda x: stats.truncnorm.logpdf(x, -1, math.inf)),
    "Binomial(10, 0.3)": (4, lambda x: stats.binom.logpmf(x, 10, 0.3)),
    "Bernoulli(logits=0)": (1, lambda x: math.log(0.5)),
    "MixtureSameFamily(Categorical([0.3, 0.7]), Normal([-1, 2], [1, 0.5]))": (0.4, two_kinds),
    "MixtureGeneral(Categorical([0.3, 0.7]), [Normal(-1, 1), Normal(2, 0.5)])": (0.4, two_kinds),
    "Normal(0, 1).expand([2]).to_event(1)": ([0.3, 1.0], lambda x: stats.norm.logpdf(x).sum()),
    "Normal(arange(3), 1).to_event()": ([0, 1.0, 1], lambda x: stats.norm.logpdf(x - np.arange(3)).sum()),
    "MultivariateNormal([0, 1], 2*eye(2) + ones([2, 2]))": (
        [0.3, 1.0],
        lambda x: stats.multivariate_normal.logpdf(x, [0, 1], [[3, 1], [1, 3]]),
    ),
    "MultivariateNormal(zeros(2), precision_matrix=diag([1, 4]))": (
        [0.3, 1.0],
        lambda x: stats.multivariate_normal.logpdf(x, [0, 0], np.diag([1, 0.25])),
    ),
    "Dirichlet([1, 2, 3])": ([0.2, 0.3, 0.5], lambda x: stats.dirichlet.logpdf(x, [1, 2, 3])),
    "Normal(0, 1).mask(False)": (0.3, lambda x: 0.0),
}


@pytest.mark.parametrize("source", MEANT)
def test_an_expression_is_the_distribution_that_it_says(source):
    point, log_density = MEANT[source]
    distribution = read_expression(source)
    value = distribution.log_prob(jnp.asarray(point))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, log_density(np.asarray(point)), rtol=1e-10)


def test_parameters_are_exactly_what_was_written():
    distribution = read_expression("Normal([0.1, 1/3, 1e-300, 9007199254740993], 0.1)")
    assert np.asarray(distribution.loc).tolist() == [0.1, 1 / 3, 1e-300, 9007199254740992.0]
    assert float(distribution.scale.ravel()[0]) == 0.1


def test_a_list_is_a_pmf():
    np.testing.assert_array_equal(read_expression("[0.25, 1/2, 1/4]"), [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(read_expression("ones(4)/4"), [0.25] * 4)
    assert "shape (2, 2)" in mistake_in("[[0.5, 0.5], [0.5, 0.5]]").sentence


numbers = st.sampled_from(["0", "1", "2", "7", "0.5", "1e3", "2.5e-3", "10"])
terms = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner),
        st.builds("-{}".format, inner),
    ),
    max_leaves=6,
)


@given(terms.filter(lambda source: source.count("**") < 2))  # Python would work on 10 ** (10 ** 10) for ever
@settings(deadline=None, max_examples=300, derandomize=True)
@example("(2 ** (0 - 1))")
@example("-2 ** 2")
@pytest.mark.landing
def test_arithmetic_agrees_with_pythons(source):
    try:
        expected = float(eval(source, {}))  # of digits and operators that this test has put together
        possible = math.isfinite(expected)
    except (ArithmeticError, TypeError):  # TypeError: a complex power
        possible = False
    error = mistake_if_any(f"Normal({source}, 1)")
    if error is None:
        assert possible
        assert value_of(source) == pytest.approx(expected, rel=1e-12)
    else:  # a part of it may be out of range, though the whole is not
        reasons = ["1.8e308", "too close to 0"] + ["real numbers", "by zero"] * (not possible)
        assert any(reason in error.sentence for reason in reasons)


def test_whole_numbers_stay_whole_and_exact():
    assert value_of("2**10 - 3*4") == 1012
    assert type(value_of("2**10 - 3*4")) is int
    assert type(value_of("4/2")) is float
    assert value_of("2**60") == 2.0**60
    assert value_of("[1, 2, 3]").dtype.kind == "i"


@pytest.mark.parametrize(
    "source",
    [
        "9**9**9",
        "10**400",
        "1" + "0" * 400,
        "1" + "0" * 5000,
        "eye(10**6)",
        "zeros([1000, 1000])",
        "ones(10**12)",
        "arange(0, 1, 1e-12)",
        "arange(inf)",
        "diag(ones(1000))",
        "ones([1000, 1]) * ones([1, 1000])",
        "Normal(0, 1).expand([10**9])",
        "LKJ(10**5, 1)",
        "GaussianRandomWalk(1, 10**9)",
        "(" * 190 + "1" + ")" * 190,
        "[" * 190 + "1" + "]" * 190,
        "(" * 5000 + "1" + ")" * 5000,
        "-" * 50_000 + "1",
        "1" + "+1" * 40_000,
        "Normal" + "(0)" * 20_000,
        "[" + "1," * 60_000 + "]",
    ],
    ids=lambda source: source[:24],
)
def test_nothing_is_unbounded(source):
    start = time.perf_counter()
    mistake_in(source)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').mkdir('{}')",
        "open('{}', 'w')",
        "Normal(open('{}', 'w'), 1)",
        "Normal(0, 1).__class__.__init__.__globals__",
        "().__class__.__bases__[0].__subclasses__()",
        "Normal(0, 1).sample(0)",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "eval('1')",
        "f'{{1}}'",
        "(x := 1)",
        "numpyro.enable_x64(1)",
        "Normal(0, 1) if 1 else 2",
        "1 < 2",
        "[1, 2][0]",
        "{{1: 2}}",
        "2 @ 3",
        "7 // 2",
        "1 << 100",
        "~1",
        "not 1",
        "...",
        "None",
        "b'1'",
        "1j",
        "Normal(*[0, 1])",
        "Normal(**{{}})",
        "await x",
        "import os",
        "x = 1",
        "1; 2",
    ],
)
def test_nothing_is_run(source, tmp_path):
    path = tmp_path / "made"
    mistake_in(source.format(path))
    assert not path.exists()


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
@settings(deadline=None, max_examples=300)
@example("Normal(\x000)")
@example("é(1)")
@example("Normal(ｘ)")
def test_any_text_is_a_distribution_or_a_mistake_with_a_place(text):
    error = mistake_if_any(text)
    if error is not None:
        assert error.sentence.endswith((".", "?"))
        assert 0 <= error.place.start <= len(error.place.source)


MISTAKES = {  # expression: the part that is marked, and words of the sentence
    "Gama(2, 3)": ("Gama", "Did you mean Gamma?"),
    "gamma(2, 3)": ("gamma", "Did you mean Gamma?"),
    "Lognormal(0, 1)": ("Lognormal", "Did you mean LogNormal?"),
    "Gaussian(0, 1)": ("Gaussian", "Did you mean Normal?"),
    "Normal(0, pie)": ("pie", "Did you mean pi?"),
    "Normal(0, sqrt(2))": ("sqrt", "x**0.5"),
    "Qwertz(1)": ("Qwertz", "NumPyro's distributions, such as Normal and Gamma"),
    "Gamma": ("Gamma", "Gamma(concentration, rate=1.0)"),
    "Gamma()": ("Gamma()", "needs concentration: Gamma(concentration, rate=1.0)"),
    "Beta(1)": ("Beta(1)", "needs concentration0"),
    "Gamma(1, 2, 3)": ("3", "at most 2 arguments without a name: Gamma(concentration, rate=1.0)"),
    "Gamma(1, rat=2)": ("rat", "Did you mean rate?"),
    "Gamma(1, theta=2)": ("theta", "It is Gamma(concentration, rate=1.0)"),
    "Gamma(1, 2, rate=3)": ("rate", "given twice"),
    "TruncatedNormal(0, 1, 2)": ("2", "at most 2 arguments without a name: TruncatedNormal(loc=0.0, scale=1.0, *, low"),
    "Bernoulli()": ("Bernoulli()", "exactly one of probs, logits: Bernoulli(probs=None, logits=None)"),
    "Normal(0, -1)": ("-1", "scale must be positive, not -1"),
    "Normal([0, 1], [1, -3])": ("[1, -3]", "scale must be positive; its entry [1] is -3"),
    "Normal(0, inf)": ("inf", "scale must be finite"),
    "Normal([0, -inf], 1)": ("[0, -inf]", "loc must be finite"),
    "Categorical([0.3, 0.8])": ("[0.3, 0.8]", "must sum to 1; it sums to 1.1"),
    "Categorical([-0.3, 1.3])": ("[-0.3, 1.3]", "its smallest entry is -0.3"),
    "Binomial(10, 1.5)": ("1.5", "probs must lie between 0 and 1, not 1.5"),
    "Binomial(2.5, 0.5)": ("2.5", "total_count must be 0, 1, 2, ..., not 2.5"),
    "NegativeBinomial(3, probs=1.5)": ("1.5", "probs must lie between 0 and 1, not 1.5"),
    "Mixture(Categorical([0.5, 0.5]), Normal([0, 1], [1, 0]))": ("[1, 0]", "scale must be positive"),
    "MultivariateNormal([0, 0], [[1, 2], [2, 1]])": ("[[1, 2], [2, 1]]", "symmetric positive definite"),
    "LowerTruncatedPowerLaw(2, 1)": ("2", "alpha must be less than -1, not 2"),
    "Uniform(1, 0)": ("Uniform(1, 0)", "empty support, from 1 to 0"),
    "DiscreteUniform(3, 1)": ("DiscreteUniform(3, 1)", "empty support, from 3 to 1"),
    "Normal([0, 1], [1, 2, 3])": ("Normal([0, 1], [1, 2, 3])", "loc has shape (2,), scale has shape (3,)"),
    "MixtureSameFamily(Categorical([0.3, 0.7]), Normal(0, 1))": ("Normal(0, 1)", "one component for each weight"),
    "MixtureSameFamily([0.3, 0.7], Normal([0, 1], 1))": ("[0.3, 0.7]", "mixing_distribution must be a distribution"),
    "Normal(Gamma(1, 2), 1)": ("Gamma(1, 2)", "loc must be a number or a list of numbers"),
    "Normal('0', 1)": ("'0'", "without quotes"),
    "Normal([1, [2, 3]], 1)": ("[1, [2, 3]]", "differ in shape: (), (2,)"),
    "[0.5, Normal(0, 1)]": ("Normal(0, 1)", "numbers or distributions, not both"),
    "Normal(2 * Gamma(1, 2), 1)": ("Gamma(1, 2)", "Arithmetic needs a number"),
    "Normal(1/0, 1)": ("1/0", "divides by zero"),
    "Normal((-8)**(1/3), 1)": ("(-8)**(1/3)", "no value among the real numbers"),
    "Normal(inf - inf, 1)": ("inf - inf", "no value among the real numbers"),
    "Normal(0, 1e-320)": ("1e-320", "too close to 0"),
    "Normal([1, 2] + [1, 2, 3], 1)": ("[1, 2] + [1, 2, 3]", "shapes (2,) and (3,)"),
    "dist.Normal(0, 1)": ("dist.Normal", "without a prefix: Normal, not dist.Normal"),
    "Categorical(np.array([0.3, 0.7]))": ("np.array", "written as a list"),
    "Normal(0, 1).to_evnt(1)": ("Normal(0, 1).to_evnt", "Did you mean .to_event(...)?"),
    "Normal([0, 1], 1).to_event(2)": ("2", "from 0 to 1: the batch shape is (2,)"),
    "Normal([0, 1], 1).expand([3])": ("[3]", "(2,) cannot be expanded to (3,)"),
    "Normal(0, 1).expand([0.5])": ("[0.5]", "whole number from 1 on"),
    "Normal(0, 1).mask(2)": ("2", "True, False"),
    "[1, 2].to_event(1)": ("[1, 2]", "follows a distribution"),
    "Normal(0, 1": ("(", "never closed"),
    "Normal(0 1)": ("0 1", "forgot a comma"),
    "Normal(é, 1) + Gama(1)": ("é", "There is no é"),
    "Levy(0, 1)": ("Levy(0, 1)", "a fault of NumPyro's"),
    "EulerMaruyama(1)": ("EulerMaruyama", "takes a function"),
    "5": ("5", "no distribution: write one"),
}


@pytest.mark.parametrize("source", MISTAKES)
def test_a_mistake_is_placed_and_explained(source):
    marked, words = MISTAKES[source]
    error = mistake_in(source)
    place = error.place
    assert place.source[place.start : place.end] == marked
    assert words in error.sentence
    excerpt, carets, sentence = str(error).splitlines()
    assert excerpt == source
    assert excerpt[carets.index("^") : carets.rindex("^") + 1] == marked
    assert sentence == error.sentence


@given(st.text("abc(),", min_size=1, max_size=200), st.data(), st.integers(20, 90))
def test_carets_stand_under_the_place_at_any_width(source, data, width):
    start = data.draw(st.integers(0, len(source) - 1))
    end = data.draw(st.integers(start + 1, len(source)))
    excerpt, carets = Place(source, start, end).marked(width).splitlines()
    assert max(len(excerpt), len(carets)) <= width
    first, last = carets.index("^"), carets.rindex("^") + 1
    assert source[start:end].startswith(excerpt[first:last].rstrip("…"))
    assert set(carets) <= {" ", "^"}
    assert last - first == end - start or last >= width - 2


def test_every_constructor_shows_its_parameters_and_survives_wrong_ones():
    assert {"Gamma", "Bernoulli", "Mixture", "TruncatedCauchy"} <= constructors().keys()
    assert not constructors().keys() & LEFT_OUT.keys()
    for name in constructors():
        assert signature(name).startswith(f"{name}(")
        assert "validate_args" not in signature(name)
        for arguments in ("-1", "[[1, 2], [3, 4]]", "Normal(0, 1)", "1, 2, 3", "[], True"):
            error = mistake_if_any(f"{name}({arguments})")
            assert error is None or error.sentence.endswith(".")


def test_every_constraint_of_numpyros_has_words():
    constraints = {
        (name, parameter): constraint
        for name, constructor in constructors().items()
        if isinstance(constraints := getattr(constructor, "arg_constraints", None), dict)
        for parameter, constraint in constraints.items()
        if not isinstance(constraint, type(dist.constraints.dependent))
    }
    assert len(constraints) > 100
    for where, constraint in constraints.items():
        assert "must satisfy" not in describe_constraint(constraint), where


def test_the_nearest_name():
    assert nearest("exponental", constructors()) == "Exponential"
    assert nearest("xyz", constructors()) is None
