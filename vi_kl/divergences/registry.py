"""The registry of pairs of distributions with a closed-form KL divergence, and of distributions with an entropy.

A closed form is a function of (p, q) registered for their two classes; a subclass uses its parents' form unless
it has its own. If there is none, the supports may still show that the divergence is infinite. The registry is
vi_kl's alone: NumPyro's own dispatch is neither used nor changed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import ExpandedDistribution, Independent, MaskedDistribution

from vi_kl.core.errors import ViKLError
from vi_kl.divergences.compatibility import check_batch_shapes, check_event_shapes, check_same_kind
from vi_kl.divergences.support import infinite, reaches_beyond
from vi_kl.divergences.validity import held_to_parameters, invalid_parameters

CLOSED_FORMS: dict[tuple[type, type], Callable] = {}
DELEGATES: set[tuple[type, type]] = set()  # the pairs whose form asks this registry about their parts
KINDS: dict[tuple[type, type], str] = {}
ENTROPIES: dict[type, Callable] = {}
WORDS = {
    "closed form": "closed form",
    "moments": "closed form, by moments",
    "finite sum": "exact finite sum",
    "sum": "sum over counts, up to where nothing of p is left",
    "infinite": "infinite for all members of these families",
}
WRAPPERS = (ExpandedDistribution, Independent, MaskedDistribution)


class NoClosedForm(ViKLError, NotImplementedError):
    """An error: no exact expression is known for this pair; the message names it and the call that estimates it."""


class NeedsKnownValues(NoClosedForm):
    """An error: the form needs a value that is being traced, such as where a sum ends."""


def closed_form(p_class: type, q_class: type, *, by: str = "closed form", delegates: bool = False):
    """Register the decorated function of (p, q) as KL(p||q) for these classes.

    Args:
        by: the kind of exact expression, for the table of pairs: "closed form", "moments", "finite sum"; or
            "infinite" if it is so for all parameters.
        delegates: whether all parameters are those of parts that the form asks `evaluate` about.

    Raises:
        ValueError: the pair has a closed form already.
    """

    def register(function):
        if (p_class, q_class) in CLOSED_FORMS:
            raise ValueError(
                f"KL({p_class.__name__} || {q_class.__name__}) is registered already, by"
                f" {CLOSED_FORMS[p_class, q_class].__qualname__}."
            )
        CLOSED_FORMS[p_class, q_class] = function
        KINDS[p_class, q_class] = by
        DELEGATES.update([(p_class, q_class)] * delegates)
        return function

    return register


def closed_form_entropy(p_class: type):
    """Register the decorated function of p as the entropy of this class."""

    def register(function):
        if p_class in ENTROPIES:
            raise ValueError(
                f"The entropy of {p_class.__name__} is registered already, by {ENTROPIES[p_class].__qualname__}."
            )
        ENTROPIES[p_class] = function
        return function

    return register


def evaluate(p, q):
    """Return KL(p||q) in nats by the form registered for the nearest classes; p's own class counts before q's.

    If there is none, or its conditions are not met, it is +inf if p reaches beyond q's support. It is NaN where a
    parameter is NaN or outside its range.

    Raises:
        NoClosedForm: there is no form.
        ValueError: event shapes differ, batch shapes do not broadcast, one is a pmf and the other a density, or there
            is a NaN among parameters that a form has to know.
    """
    check_event_shapes(p, q)
    try:
        divergence = by_form(unexpanded(p), unexpanded(q))
        return jnp.broadcast_to(divergence, jnp.broadcast_shapes(divergence.shape, *expanded_shapes(p, q)))
    except NoClosedForm as error:
        check_batch_shapes(p, q)
        reject_invalid(p=p, q=q)
        return infinite_or(error, p, q)
    except (ValueError, TypeError):
        check_batch_shapes(p, q)
        raise


def by_form(p, q):
    pair = nearest_pair(p, q)
    if pair is None:
        raise no_closed_form(p, q)
    divergence = CLOSED_FORMS[pair](p, q)
    if pair in DELEGATES:
        return divergence
    return held_to_parameters(divergence, p, q, every_entry=KINDS[pair] == "infinite")


def reject_invalid(**named):
    """Raise ValueError for a parameter that is known to be NaN or outside its range."""
    for name, distribution in named.items():
        wrong = invalid_parameters(distribution)
        if wrong:
            raise ValueError(
                f"{name}, {describe(distribution)}, has a parameter that is NaN or outside its range: {wrong[0]}."
            )


def nearest_pair(p, q):
    """Return the registered pair of classes that p and q fall under, or None."""
    pairs = ((a, b) for a in type(unexpanded(p)).__mro__ for b in type(unexpanded(q)).__mro__)
    return next((pair for pair in pairs if pair in CLOSED_FORMS), None)


def kind(p, q) -> str:
    """Return the kind of exact expression that `evaluate` uses, in words."""
    return WORDS.get(KINDS.get(nearest_pair(p, q)), "supports: p reaches where q has no probability")


def infinite_or(error, p, q):
    """Return +inf if the supports show it, else raise the error.

    The result is NaN where the supports depend on bounds that are being traced.
    """
    check_same_kind(p, q)
    beyond = reaches_beyond(p, q)
    if beyond is None or isinstance(error, NeedsKnownValues) or (known(beyond) and not np.all(beyond)):
        raise error
    shape = jnp.broadcast_shapes(infinite(unexpanded(p), unexpanded(q)).shape, *expanded_shapes(p, q))
    value = jnp.broadcast_to(jnp.where(beyond, jnp.inf, jnp.nan), shape)
    return held_to_parameters(value, p, q, every_entry=True)


def evaluate_entropy(p):
    """Return the entropy of p in nats by the form registered for its nearest class.

    Raises:
        NoClosedForm: there is no form.
        ValueError: a parameter is NaN or outside its range, and the form has to know it.
    """
    try:
        entropy = entropy_by_form(p)
    except NoClosedForm:
        reject_invalid(p=p)
        raise
    return jnp.broadcast_to(entropy, jnp.broadcast_shapes(entropy.shape, *expanded_shapes(p)))


def entropy_by_form(p):
    family = next((family for family in type(unexpanded(p)).__mro__ if family in ENTROPIES), None)
    if family is None:
        raise NoClosedForm(
            f"No closed form is known for the entropy of {describe(p)}. estimate_entropy(p, key=...) has an estimate."
        )
    # an entropy may use the diagonal of a matrix only, so every entry is checked here
    return held_to_parameters(ENTROPIES[family](unexpanded(p)), p, every_entry=True)


def unexpanded(distribution):
    """Return the distribution below any `.expand(...)`."""
    while isinstance(distribution, ExpandedDistribution):
        distribution = distribution.base_dist
    return distribution


def expanded_shapes(*distributions):
    """Return the batch shapes that `.expand(...)` declares.

    The other distributions' shapes are those of their parameters, which under vmap are right where the declared
    batch shape still has the mapped axis.
    """
    return [d.batch_shape for d in distributions if isinstance(d, ExpandedDistribution)]


def known(*values) -> bool:
    """Return whether all values are concrete: while jit or grad traces a function, some are not."""
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def only_where(condition, divergence, p, q, why: str):
    """Return the divergence, for a form that holds only under a condition on the parameters.

    If the condition cannot be known because the parameters are being traced, the entries that do not meet it
    become NaN.

    Raises:
        NoClosedForm: the condition is known and not met everywhere; `why` states it.
    """
    if known(condition) and not np.all(condition):
        raise no_closed_form(p, q, why)
    return divergence * jnp.where(condition, 1.0, jnp.nan).astype(divergence.dtype)  # a product: its slopes are NaN too


def no_closed_form(p, q, why: str = "", error: type[NoClosedForm] = NoClosedForm) -> NoClosedForm:
    """Return the error for a pair without a closed form, ready to be raised."""
    reason = f" ({why})" if why else ""
    return error(
        f"No closed form is known for KL({describe(p)} || {describe(q)}){reason}."
        " estimate_kl(p, q, key=...) gives the value with its error."
    )


def describe(distribution) -> str:
    """Return the class of a distribution, with what it wraps: `Independent(Normal)`."""
    name = type(distribution).__name__
    return f"{name}({describe(distribution.base_dist)})" if isinstance(distribution, WRAPPERS) else name
