"""The f-divergences, each given by the contribution of one point.

An f-divergence is the sum or integral of q f(p/q) with f convex, f(1) = 0 and, by adding a multiple of p/q - 1 that
integrates to nothing, f >= 0 (Csiszar 1967). So every point adds a term that is not negative: nothing cancels, and
a sum over near-equal p and q keeps its digits. A `Generator` states

    terms(log_p, log_q, x)   the contribution of a point with p, q > 0; x = log(p/q) may be known more exactly
    p_alone, q_alone         the contribution of a unit of p where q is zero, and of q where p is: the limits of f
    value(integrals)         the divergence, from the integral of the terms

Renyi's divergence is a function of such an integral. If p and q are far apart, that function loses all digits
(1 - A rounds to 1), so its terms come with a second kind, those of the affinity A itself.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from vi_kl.divergences.bregman import em, namespace, psi

FAR = 0.5  # the affinity below which it is integrated itself, and not 1 minus it


@dataclasses.dataclass(frozen=True)
class Generator:
    """A record of one f-divergence.

    Attributes:
        name: the name in words, for messages.
        terms: the function from log p, log q and log(p/q), arrays over points, to a tuple of arrays of each point's
            contribution.
        p_alone, q_alone: each term's contribution of a unit of p where q is 0, and of q where p is 0.
        value: the function from the integrals of the terms to the divergence.
        error: the function from the integrals and their errors to the error of the divergence.
        unit: the unit, "nats", or "" for a plain number.
    """

    name: str
    terms: Callable
    p_alone: tuple[float, ...]
    q_alone: tuple[float, ...]
    value: Callable = lambda integrals: integrals[0]
    error: Callable = lambda integrals, errors: errors[0]
    unit: str = ""


def larger(log_p, log_q):
    """Return the logarithm of the larger of p and q."""
    return namespace(log_p, log_q).maximum(log_p, log_q)


def distance(log_p, log_q, x):
    """Return |p - q|."""
    xp = namespace(x)
    return -xp.exp(larger(log_p, log_q)) * xp.expm1(-abs(x))


def jensen_shannon_terms(log_p, log_q, x):
    """Return p log(p/m) + q log(q/m) = m (psi(t) + psi(-t)), with m = (p + q)/2 and t = (p - q)/(p + q)."""
    xp = namespace(x)
    t = xp.tanh(x / 2)
    return ((xp.exp(log_p) + xp.exp(log_q)) / 4 * (psi(t) + psi(-t)),)


def total_variation_terms(log_p, log_q, x):
    return (distance(log_p, log_q, x) / 2,)


def squared_hellinger_terms(log_p, log_q, x):
    xp = namespace(x)
    return (xp.exp(larger(log_p, log_q)) * xp.expm1(-abs(x) / 2) ** 2 / 2,)


def chi_squared_terms(log_p, log_q, x):
    """Return (p - q)^2 / q, with the division in the exponent, since p and q may underflow where it counts."""
    xp = namespace(x)
    return (xp.exp(2 * larger(log_p, log_q) - log_q) * xp.expm1(-abs(x)) ** 2,)


def alpha_term(alpha, log_p, log_q, x):
    """Return (p^alpha q^(1 - alpha) - alpha p + (alpha - 1) q) / (alpha (alpha - 1)), also at alpha 1 and 0.

    Let b = alpha - 1. Around alpha = 1 it is (p x - p + q + p em(b x) / b) / alpha.
    """
    if alpha < 0.5:
        return alpha_term(1 - alpha, log_q, log_p, -x)
    xp = namespace(x)
    p, q, b = xp.exp(log_p), xp.exp(log_q), alpha - 1
    term = xp.where(x > 0, p * em(-xp.maximum(x, 0.0)), q * psi(xp.expm1(xp.minimum(x, 0.0))))
    if b == 0:
        return term
    near = abs(b * x) < 0.3
    power = xp.exp(xp.where(near, log_p, log_p + b * x)) - p * (1 + b * x)
    return (term + xp.where(near, p * em(xp.where(near, b * x, 0.0)), power) / b) / alpha


def alone(alpha: float) -> tuple[float, float]:
    """Return the contribution of a unit of p to the alpha divergence where q is 0, and of q where p is 0."""
    return 1 / (1 - alpha) if alpha < 1 else math.inf, 1 / alpha if alpha > 0 else math.inf


def alpha_divergence(alpha: float) -> Generator:
    p_alone, q_alone = alone(alpha)
    return Generator(
        f"alpha divergence of {alpha:g}",
        lambda log_p, log_q, x: (alpha_term(alpha, log_p, log_q, x),),
        (p_alone,),
        (q_alone,),
    )


def renyi(order: float) -> Generator:
    """Return Renyi's divergence of any finite order, log A / (order - 1).

    A is the integral of p^order q^(1 - order).
    """
    if order == 1:
        return dataclasses.replace(alpha_divergence(1.0), name="Renyi divergence of order 1", unit="nats")
    if order == 0:
        return hartley()
    lacking, b = order * (order - 1), order - 1  # A = 1 + lacking * the alpha divergence

    def terms(log_p, log_q, x):
        xp = namespace(x)
        # of the two exponents, the one without a large multiple of x
        power = log_p + b * x if abs(b) < abs(order) else log_q + order * x
        return alpha_term(order, log_p, log_q, x), xp.exp(power)

    def value(integrals):
        divergence, affinity = integrals
        xp = namespace(divergence)
        far = affinity < FAR
        log_affinity = xp.log(xp.where(affinity > 0, affinity, 1.0))
        near = xp.log1p(lacking * xp.where(far, 0.0, divergence)) / b
        return xp.where(far, xp.where(affinity > 0, log_affinity / b, math.inf), near)

    def error(integrals, errors):
        divergence, affinity = integrals
        if affinity < FAR:
            return errors[1] / (affinity * abs(b)) if affinity > 0 else 0.0
        return abs(order) * errors[0] / (1 + lacking * divergence)

    p_alone, q_alone = alone(order)
    infinite = (math.inf if order > 1 else 0.0, math.inf if order < 0 else 0.0)
    return Generator(
        f"Renyi divergence of order {order:g}",
        terms,
        (p_alone, infinite[0]),
        (q_alone, infinite[1]),
        value,
        error,
        "nats",
    )


def hartley() -> Generator:
    """Return Renyi's divergence of order 0: -log of the part of q where p is positive."""

    def value(integrals):
        xp = namespace(*integrals)
        outside = integrals[0]
        return xp.where(outside < 1, -xp.log1p(-xp.where(outside < 1, outside, 0.0)), math.inf)

    def error(integrals, errors):
        return errors[0] / (1 - integrals[0]) if integrals[0] < 1 else 0.0

    return Generator(
        "Renyi divergence of order 0", lambda log_p, log_q, x: (0.0 * x,), (0.0,), (1.0,), value, error, "nats"
    )


def hellinger() -> Generator:
    def value(integrals):
        xp = namespace(*integrals)
        positive = integrals[0] > 0
        return xp.where(positive, xp.sqrt(xp.where(positive, integrals[0], 1.0)), 0.0)  # no NaN derivative at 0

    def error(integrals, errors):
        root = math.sqrt(max(integrals[0], 0.0))
        return min(errors[0] / (2 * root) if root else math.inf, math.sqrt(errors[0]))

    return Generator("Hellinger distance", squared_hellinger_terms, (0.5,), (0.5,), value, error)


FIXED = {
    "jensen_shannon": Generator(
        "Jensen-Shannon divergence", jensen_shannon_terms, (math.log(2) / 2,), (math.log(2) / 2,), unit="nats"
    ),
    "total_variation": Generator("total variation", total_variation_terms, (0.5,), (0.5,)),
    "squared_hellinger": Generator("squared Hellinger distance", squared_hellinger_terms, (0.5,), (0.5,)),
    "hellinger": hellinger(),
    "chi_squared": Generator("chi-squared divergence", chi_squared_terms, (math.inf,), (1.0,)),
}


def generator(kind: str, order: float | None = None, alpha: float | None = None) -> Generator:
    """Return the f-divergence of that name.

    Raises:
        ValueError: the name is unknown, or an order or alpha is missing, superfluous, or not a number.
    """
    given = {name: value for name, value in (("order", order), ("alpha", alpha)) if value is not None}
    wanted = {"renyi": {"order"}, "alpha": {"alpha"}}.get(kind, set())
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}.")
    if set(given) != wanted:
        needs = f"needs {' and '.join(wanted)}=" if wanted else "takes neither order= nor alpha="
        found = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "nothing"
        raise ValueError(f"kind {kind!r} {needs}; given: {found}.")
    if kind in FIXED:
        return FIXED[kind]
    if kind == "bhattacharyya":
        return dataclasses.replace(halved(renyi(0.5)), name="Bhattacharyya distance")
    number = plain_number(*given, *given.values())
    if math.isinf(number):
        raise ValueError(
            f"An infinite {' or '.join(given)} has no integral to estimate; only renyi(p, q, order) takes one."
        )
    return renyi(number) if kind == "renyi" else alpha_divergence(number)


KINDS = (*FIXED, "bhattacharyya", "renyi", "alpha")


def halved(whole: Generator) -> Generator:
    return dataclasses.replace(
        whole,
        value=lambda integrals: whole.value(integrals) / 2,
        error=lambda integrals, errors: whole.error(integrals, errors) / 2,
    )


def interior(divergence: Generator, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Return the points' contributions where both have density, 0 elsewhere.

    The result is a NumPy array with the terms on a new first axis.
    """
    both = (log_p > -math.inf) & (log_q > -math.inf)
    safe_p, safe_q = np.where(both, log_p, 0.0), np.where(both, log_q, 0.0)
    return np.where(both, np.stack(divergence.terms(safe_p, safe_q, safe_p - safe_q)), 0.0)


def plain_number(name, value) -> float:
    """Return a Python float: orders are part of the code, so a traced one cannot be used."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:  # a tracer's error is a TypeError
        raise ValueError(f"{name} must be a plain number, got {value!r}.") from error
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got NaN.")
    return number
