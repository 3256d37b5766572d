"""The ordered pairs of distributions that have an exact divergence, in vi_kl and, for comparison, in NumPyro."""

import dataclasses
from collections import Counter

import numpyro.distributions as dist
from numpyro.distributions.kl import kl_divergence as numpyro_kl

from vi_kl.cli.divergence.expressions import read_expression
from vi_kl.cli.divergence.input_errors import ExpressionError, Place
from vi_kl.cli.divergence.namespace import constructors
from vi_kl.core.precision import in_float64
from vi_kl.divergences.registry import CLOSED_FORMS, KINDS, WRAPPERS

CLOSED = "closed form"
ANY = (dist.Distribution, dist.ExpandedDistribution, dist.MaskedDistribution)


@dataclasses.dataclass(frozen=True, order=True)
class Pair:
    """An exact method for KL(p||q); p and q are class names."""

    p: str
    q: str
    by: str


@dataclasses.dataclass(frozen=True)
class PairsOf:
    """The exact pairs with one distribution in them.

    Attributes:
        name: the distribution.
        from_it: the pairs in which it is p.
        to_it: the pairs in which it is q.
    """

    name: str
    from_it: list[Pair]
    to_it: list[Pair]

    def to_dict(self) -> dict:
        """Return the record for JSON."""
        return {
            "distribution": self.name,
            "from": [{"q": pair.q, "by": pair.by} for pair in self.from_it],
            "to": [{"p": pair.p, "by": pair.by} for pair in self.to_it],
        }


@dataclasses.dataclass(frozen=True)
class Summary:
    """All exact pairs, and how many NumPyro has.

    Attributes:
        pairs: the pairs of vi_kl.
        rules: the number of vi_kl's forms that take a wrapper off, whatever is in it.
        numpyro_pairs, numpyro_rules: the same numbers for `numpyro.distributions.kl`.
    """

    pairs: list[Pair]
    rules: int
    numpyro_pairs: int
    numpyro_rules: int

    @property
    def finite(self) -> list[Pair]:
        """The pairs without those that are infinite whatever the parameters."""
        return [pair for pair in self.pairs if pair.by != "infinite"]

    @property
    def plain_count(self) -> int:
        """The number of finite pairs, with the parametrisations of one distribution counted as one."""
        return len({(plain(pair.p), plain(pair.q)) for pair in self.finite})

    @property
    def by(self) -> dict[str, int]:
        """The number of pairs by each method, the most frequent first."""
        return dict(Counter(pair.by for pair in self.pairs).most_common())

    def to_dict(self) -> dict:
        """Return the record for JSON."""
        return {
            "finite_pairs": len(self.finite),
            "finite_pairs_with_parametrisations_as_one": self.plain_count,
            "rules": self.rules,
            "by": self.by,
            "numpyro": {"pairs": self.numpyro_pairs, "rules": self.numpyro_rules},
            "exact": [dataclasses.asdict(pair) for pair in self.pairs],
        }


def exact_pairs() -> list[Pair]:
    """Return all pairs of distributions for which vi_kl has an exact divergence, in alphabetical order."""
    return sorted(Pair(p.__name__, q.__name__, KINDS.get((p, q), CLOSED)) for p, q in CLOSED_FORMS if not is_rule(p, q))


def is_rule(p: type, q: type) -> bool:
    """Return whether a form takes a wrapper off, whatever is in it, and so is no pair of distributions by itself."""
    return p in ANY or q in ANY or (p is q is dist.Independent)


@in_float64
def pairs_of(written: str) -> PairsOf:
    """Return the exact pairs from and to a distribution, given as an expression or by the name of its constructor.

    Raises:
        ExpressionError: a mistake in the expression.
    """
    name = written.strip()
    classes = classes_named(name) or [class_of(name)]
    ancestors = {ancestor.__name__ for cls in classes for ancestor in cls.__mro__}
    pairs = exact_pairs()
    return PairsOf(
        plain(classes[0].__name__),
        [pair for pair in pairs if pair.p in ancestors],
        [pair for pair in pairs if pair.q in ancestors],
    )


def classes_named(name: str) -> list[type]:
    """Return the classes that a bare name stands for: Bernoulli for BernoulliProbs and BernoulliLogits."""
    candidates = [getattr(dist, variant, None) for variant in (name, f"{name}Probs", f"{name}Logits")]
    return [candidate for candidate in candidates if isinstance(candidate, type) and name in constructors()]


def class_of(expression: str) -> type:
    """Return the class of an expression's distribution, without what wraps it."""
    distribution = read_expression(expression)
    if not isinstance(distribution, dist.Distribution):
        raise ExpressionError("A list has an exact divergence from every list of its length.", Place(expression))
    while isinstance(distribution, WRAPPERS):
        distribution = distribution.base_dist
    return type(distribution)


def summary() -> Summary:
    """Count the pairs of the registries as they are now."""
    theirs = [pair for pair in numpyro_kl.funcs if not is_rule(*pair)]
    pairs = exact_pairs()
    return Summary(pairs, len(CLOSED_FORMS) - len(pairs), len(theirs), len(numpyro_kl.funcs) - len(theirs))


def plain(name: str) -> str:
    """Return a distribution's name without its parametrisation: Bernoulli for BernoulliProbs and BernoulliLogits."""
    for suffix in ("Probs", "Logits"):
        if name.endswith(suffix) and hasattr(dist, name.removesuffix(suffix)):
            return name.removesuffix(suffix)
    return name
