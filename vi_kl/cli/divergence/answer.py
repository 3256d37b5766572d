"""The divergence of two written distributions, with its error, its method, and why it is infinite."""

import dataclasses
import math

import jax
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.cli.divergence.expressions import read_expression
from vi_kl.cli.divergence.input_errors import ExpressionError, Place
from vi_kl.cli.divergence.interpretation import why_infinite
from vi_kl.cli.divergence.syntax import check_kinds
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.written_numbers import contradicts_zero, with_error
from vi_kl.divergences import NoClosedForm, estimate_kl, kl_divergence
from vi_kl.divergences.discrete import as_pmfs

MOST_VALUES = 10_000_000  # the most terms of a sum


@dataclasses.dataclass(frozen=True)
class Finding:
    """One divergence.

    Attributes:
        names: the two names in their order, so ("p", "q") for KL(p||q).
        estimate: the divergence, in the unit asked for.
        why_infinite: the reason, if the divergence is infinite and the reason can be known; else "".
    """

    names: tuple[str, str]
    estimate: Estimate
    why_infinite: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether the divergence has no error."""
        return self.estimate.standard_error == 0 and self.estimate.num_draws is None

    def to_dict(self) -> dict:
        """Return the record for JSON, which has no infinity: for it `value` is null and `infinite` true."""
        estimate, infinite = self.estimate, math.isinf(self.estimate.value)
        return {
            "value": None if infinite else estimate.value,
            "infinite": infinite,
            "standard_error": estimate.standard_error,
            "exact": self.is_exact,
            "method": estimate.method,
            "num_draws": estimate.num_draws,
            "k_hat": estimate.k_hat if estimate.k_hat is not None and math.isfinite(estimate.k_hat) else None,
            "caveat": estimate.caveat,
            "why_infinite": self.why_infinite,
        }


@dataclasses.dataclass(frozen=True)
class Answer:
    """KL(p||q) of two expressions, and KL(q||p) if it was asked for.

    Attributes:
        p, q: the expressions.
        unit: "nats" or "bits".
        seed: the seed of the draws.
        findings: the divergences.
    """

    p: str
    q: str
    unit: str
    seed: int
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict:
        """Return the record for JSON."""
        found = {f"kl_{'_'.join(finding.names)}": finding.to_dict() for finding in self.findings}
        return {"p": self.p, "q": self.q, "unit": self.unit, "seed": self.seed, **found}


@in_float64
def answer(
    p: str,
    q: str,
    *,
    unit: str = "nats",
    method: str = "auto",
    num_draws: int | None = None,
    seed: int = 0,
    both: bool = False,
    normalize: bool = False,
) -> Answer:
    """Compute KL(p||q) of two expressions.

    Args:
        p, q: the expressions, which `read_expression` reads.
        unit: "nats" or "bits".
        method: the method, as in `estimate_kl`.
        num_draws: the number of draws, as in `estimate_kl`; None for its default.
        seed: the seed of the draws, if there are any.
        both: whether to compute KL(q||p) too.
        normalize: whether bare lists are counts, to be divided by their sums.

    Raises:
        ExpressionError: a mistake in p or q, with its place.
        ValueError, NoClosedForm: p and q cannot be compared, or not by this method.
    """
    named = {name: read(name, source, normalize) for name, source in (("p", p), ("q", q))}
    is_list = {name: not isinstance(value, Distribution) for name, value in named.items()}
    check_kinds({"p": p, "q": q}, is_list, normalize, method)
    if method in ("auto", "enumeration"):
        check_summable(named["p"], named["q"], both)
    options = {"method": method, "key": jax.random.key(seed), "base": 2 if unit == "bits" else None}
    if num_draws is not None:
        options["num_draws"] = num_draws
    directions = (("p", "q"), ("q", "p")) if both else (("p", "q"),)
    return Answer(p, q, unit, seed, tuple(find(named, names, seed, options) for names in directions))


def read(name: str, source: str, normalize: bool) -> Distribution | np.ndarray:
    """Read one expression as a single distribution, or as a checked pmf."""
    value = read_expression(source)
    if isinstance(value, Distribution):
        if value.batch_shape:
            dimensions = len(value.batch_shape)
            raise ExpressionError(
                f"This is a batch of distributions, of shape {value.batch_shape}. Append .to_event({dimensions}) to"
                " make one joint distribution of them.",
                Place(source),
            )
        return value
    try:
        return as_pmfs(-1, normalize, **{name: value})[0]
    except ValueError as error:
        raise ExpressionError(str(error).replace("pass normalize=True", "add --normalize"), Place(source)) from None


def check_summable(p, q, both: bool) -> None:
    """Refuse a sum over more values than memory holds, which would end not in an error, but with the process killed."""
    for reference, approximation in ((p, q), (q, p))[: 1 + both]:
        low, high = (getattr(getattr(reference, "support", None), f"{side}_bound", None) for side in ("lower", "upper"))
        if low is None or high is None or not reference.is_discrete or float(high) - float(low) < MOST_VALUES:
            continue
        try:
            kl_divergence(reference, approximation)
        except NoClosedForm:
            raise ValueError(
                f"The sum over {float(high) - float(low) + 1:,.0f} values is too long, and there is no closed form."
                " --method monte-carlo estimates this from draws."
            ) from None


def find(named: dict, names: tuple[str, str], seed: int, options: dict) -> Finding:
    """Compute one divergence."""
    p, q = (named[name] for name in names)
    estimate = estimate_kl(p, q, **options)
    check_possible(estimate, names)
    return Finding(names, estimate, why_infinite(p, q, names, seed) if math.isinf(estimate.value) else "")


def check_possible(estimate: Estimate, names: tuple[str, str]) -> None:
    """Refuse a divergence that is not a number, or negative."""
    divergence, method = f"KL({' || '.join(names)})", estimate.method.split(";")[0]
    if math.isnan(estimate.value):
        raise ValueError(
            f"{divergence} came out as not a number (by {method}): parameters this extreme are beyond what"
            " float64 can tell. Try another --method."
        )
    if contradicts_zero(estimate.value, estimate.standard_error):
        number = with_error(estimate.value, estimate.standard_error)
        raise ValueError(
            f"{divergence} came out as {number} (by {method}), but no divergence is negative: one"
            " of the two does not add up to 1, as where a mask takes off a part of it."
        )
