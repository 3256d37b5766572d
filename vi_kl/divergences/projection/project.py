"""KL as the objective: the member of a family nearest to p, in either direction.

Forward, KL(p||q), makes q cover all of p: the fit of maximum likelihood, and for an exponential family the matching
of moments. Reverse, KL(q||p), keeps q where p has probability: the objective of variational inference.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.distributions import Distribution, biject_to, constraints

from vi_kl.core.annotations import KeyLike, PmfLike
from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import as_numpy, in_float64
from vi_kl.core.programs.program import Program, capture, kept
from vi_kl.core.random_keys import as_key
from vi_kl.divergences.given_parameters import with_float64_parameters
from vi_kl.divergences.kl import kl_divergence
from vi_kl.divergences.labelled import by_position
from vi_kl.divergences.projection.by_class import project_onto_class
from vi_kl.divergences.projection.descent import descend
from vi_kl.divergences.projection.families import find_family

DIRECTIONS = ("forward", "reverse")


@dataclasses.dataclass(frozen=True)
class Projection:
    """A member of a family nearest to p, and how it was found.

    Attributes:
        params: the parameters at the minimum, in the structure of `init`, or by name for a distribution class;
            NumPy arrays, or floats for scalars.
        divergence: the divergence of `q`, in `unit`: the smallest in the family, up to the errors below.
        unit: "nats" or "bits".
        direction: "forward" for KL(p||q), "reverse" for KL(q||p).
        converged: whether a minimum was found.
        status: what happened, in a sentence, and what to try if it did not converge.
        q: the nearest member, as `family` returned it.
        method: how it was found, in words: "moment matching (closed form)", ...
        standard_error: the standard error of the divergence; for sums over nodes their own error estimate, 0 if it is
            exact.
        params_standard_error: the standard errors, in the structure of `params`, if the moments were estimated from
            draws; else None.
        minima: (divergence, params) of every distinct minimum that was found, lowest first.
    """

    params: Any
    divergence: float
    unit: str
    direction: str
    converged: bool
    status: str
    q: Any
    method: str = ""
    standard_error: float = 0.0
    params_standard_error: Any = None
    minima: tuple[tuple[float, Any], ...] = ()


@in_float64
def project(
    p: Distribution | PmfLike,
    family: Callable,
    *,
    direction: str = "forward",
    init: Any = None,
    support: Any = None,
    fixed: dict | None = None,
    key: KeyLike | None = None,
    num_draws: int = 100_000,
    base: int | None = None,
    max_steps: int = 500,
) -> Projection:
    """Find the member of `family` with the smallest KL divergence from p, or to p.

    A NumPyro class needs nothing else. Forward, onto an exponential family (Normal, Gamma, Beta, Dirichlet,
    Poisson, Categorical, ...), the answer is exact: the member with p's moments. Otherwise the divergence is
    minimised by gradient (L-BFGS, then Newton steps), in closed form or as a sum over fixed nodes, from several
    starts: p as a whole, and each of its modes or mixture components.

    A function from parameters to members is minimised from `init` alone, on an unconstrained scale: what is found
    is the nearest minimum downhill. Where there may be several, start from several places.

    Args:
        p: a pmf array (over 0, 1, 2, ... for a class; a pandas Series over the counts that label it), or a NumPyro
            distribution without batch dimensions.
        family: a NumPyro class such as `dist.Gamma`, over p's space; a class over numbers also serves for a vector
            p, and then stands for independent coordinates. Or a function, written with jax.numpy, from parameters
            to a pmf array over p's support or to a distribution whose divergence with p has a closed form.
        direction: "forward" minimises KL(p||q) and makes q cover p; "reverse" minimises KL(q||p) and keeps q
            inside p.
        init: the parameters to start from, if `family` is a function: a number, an array, or a dict of them.
        support: the constraint of each parameter, if `family` is a function, as a NumPyro constraint
            (`constraints.unit_interval`), or a dict of constraints for a dict of parameters; those left out are
            real numbers.
        fixed: parameters of a class that are given and not sought: {"total_count": 10} for a Binomial (for a pmf
            array it is the last value unless given), {"df": 4.0} for a StudentT.
        key: a JAX random key; needed only if moments or divergence can be computed from draws alone.
        num_draws: the number of draws, if draws are needed.
        base: 2 for bits, None for nats.
        max_steps: the largest number of L-BFGS steps of a descent.

    Returns:
        A Projection; its `method` says how it was found, its `status` how many distinct minima there were.

    Raises:
        ValueError: the direction is unknown, p is a batch, `init` lies outside `support`, the divergence is infinite
            wherever it was tried, p lacks a moment that the family has to match, or there is no key and one is
            needed.
        TypeError: the class is not known, or the function returns the wrong kind of object.
        NoClosedForm: the divergence has no closed form, and no sum over fixed nodes either.

    References: Csiszár (1975) for projections; Minka (2005), "Divergence measures and message passing", for the
    two directions.

    Example:
        >>> project(dist.Gamma(4.0, 2.0), dist.LogNormal).method
        'moment matching (closed form)'
        >>> binomial = lambda p: jnp.exp(dist.Binomial(10, p).log_prob(jnp.arange(11)))
        >>> project(observed(), binomial, init=0.5, support=constraints.unit_interval).params
        0.5689...
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be 'forward' (KL(p||q)) or 'reverse' (KL(q||p)), not {direction!r}.")
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    known = find_family(family)
    p = checked(p, over_counts=known is not None)
    unit = "nats" if base is None else "bits"
    if known is None:
        if init is None or fixed:
            raise TypeError("A family given as a function needs init, the parameters to start from, and no fixed ones.")
        return project_onto_function(p, family, init, support, direction, unit, max_steps)
    if init is not None or support is not None:
        raise TypeError(f"init and support belong to families given as functions; {known.name} finds its own starts.")
    key = None if key is None else as_key(key)
    found = project_onto_class(p, known, dict(fixed or {}), direction, key, num_draws, max_steps)
    return presented(found, direction, unit)


def checked(p, over_counts: bool):
    """Return p in float64, after checking that it is one; with `over_counts`, a pmf array over 0, 1, 2, ..."""
    if not isinstance(p, Distribution):
        kl_divergence(p, p)  # this checks p in its own precision
        p = by_position(p, over_counts)
        p, batch_shape = np.asarray(p, dtype=np.float64), np.shape(p)[:-1]
        p = p / p.sum(-1, keepdims=True)  # its sum is 1 to its own precision, which may be less than float64's
    else:
        p, batch_shape = with_float64_parameters(p), p.batch_shape
    if batch_shape:
        raise ValueError(
            f"p has batch shape {batch_shape}, but project takes one p at a time: call it for each, or make p one"
            " distribution over vectors with .to_event()."
        )
    return p


def presented(found, direction, unit):
    """Return what was found, in the caller's unit and in NumPy's types."""
    divergence = found.divergence.to(unit)
    minima = tuple((Estimate(value).to(unit).value, plain(params)) for value, params in found.minima)
    status = found.status
    if len(minima) > 1:
        values = ", ".join(f"{value:.4g}" for value, _ in minima)
        status += f" {len(minima)} distinct minima were found, with divergences {values} {unit}; the lowest is kept."
    return Projection(
        plain(found.params), divergence.value, unit, direction, found.converged, status,
        jax.tree.map(as_numpy, found.q), found.method, divergence.standard_error, plain(found.standard_errors), minima,
    )  # fmt: skip


def plain(params):
    """Return parameters as NumPy arrays, and scalars as floats."""
    return jax.tree.map(lambda value: float(value) if np.ndim(value) == 0 else np.asarray(value), params)


def project_onto_function(p, family, init, support, direction, unit, max_steps):
    """Find the minimum downhill of `init`."""
    start, constrain, bounded = unconstrained_start(init, support)

    def divergence_of(q):
        return kl_divergence(p, q) if direction == "forward" else kl_divergence(q, p)

    def parameters_and_member(z):
        params = constrain(z)
        return params, family(params)

    try:
        member = Captured.of(parameters_and_member, start)
    except jax.errors.JAXTypeError as error:
        raise TypeError(
            "family cannot be differentiated by JAX; write it with jax.numpy and NumPyro, not with NumPy or SciPy:"
            f" {str(error).splitlines()[0]}"
        ) from error
    check_start(member, divergence_of, start, init, direction)
    value = Captured.of(lambda z: divergence_of(member.program(member.closed_over, z)[1]), start)
    minimum = descend(value.and_gradient, np.asarray(start), bounded, max_steps)
    params, q = jax.tree.map(as_numpy, member(minimum.z))
    divergence = Estimate(minimum.value).to(unit)
    return Projection(
        plain(params), divergence.value, unit, direction, minimum.converged, minimum.status, q,
        "descent on the exact divergence", minima=((divergence.value, plain(params)),) if minimum.converged else (),
    )  # fmt: skip


class Captured(NamedTuple):
    """A function of z as it is now: another of the same operations, on other numbers, compiles nothing."""

    program: Program
    closed_over: list

    @classmethod
    def of(cls, function, z):
        program, closed_over = capture(function, z)
        return cls(program, [kept(constant) for constant in closed_over])

    def __call__(self, z):
        return run(self.closed_over, z, self.program)

    def and_gradient(self, z):
        return value_and_gradient(self.closed_over, z, self.program)


@compiled(static=("program",))
def run(closed_over, z, program: Program):
    return program(closed_over, z)


@compiled(static=("program",))
def value_and_gradient(closed_over, z, program: Program):
    return jax.value_and_grad(lambda z: program(closed_over, z))(z)


def unconstrained_start(init, support):
    """Return the flat unconstrained vector of `init`, the way back to parameters, and which entries have an edge."""
    init = jax.tree.map(lambda value: jnp.asarray(value, dtype=jnp.float64), init)
    if isinstance(support, dict) and isinstance(init, dict) and (unknown := sorted(support.keys() - init.keys())):
        raise ValueError(
            f"support has {', '.join(map(repr, unknown))}, which is no parameter of init: these are "
            f"{', '.join(map(repr, init))}."
        )
    bijections, edged = {}, {}
    for path, value in jax.tree_util.tree_leaves_with_path(init):
        constraint = constraint_of(path, support)
        name = f"init{jax.tree_util.keystr(path)}"
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} is not finite: {value}.")
        if not np.all(constraint(value)):
            raise ValueError(f"{name} = {value} lies outside its support, {constraint}.")
        bijections[path] = biject_to(constraint)
        edged[path] = constraint not in (constraints.real, constraints.real_vector)
    unconstrained = jax.tree_util.tree_map_with_path(lambda path, value: bijections[path].inv(value), init)
    start, unravel = ravel_pytree(unconstrained)
    if not start.size:
        raise ValueError("init has no parameters.")
    if not np.all(np.isfinite(start)):
        raise ValueError(f"init = {init} lies on the edge of its support; start inside it.")

    def constrain(z):
        return jax.tree_util.tree_map_with_path(lambda path, value: bijections[path](value), unravel(z))

    bounded = jax.tree_util.tree_map_with_path(lambda path, z: jnp.full(jnp.shape(z), edged[path]), unconstrained)
    return start, constrain, np.asarray(ravel_pytree(bounded)[0], dtype=bool)


def constraint_of(path, support):
    """Return the constraint of the parameter at this place of `init`."""
    if not isinstance(support, dict):
        return constraints.real if support is None else support
    unknown_place = len(path) != 1 or not hasattr(path[0], "key")
    if unknown_place:
        raise ValueError("support is a dict, so init must be a dict of parameters too.")
    return support.get(path[0].key, constraints.real)


def check_start(member, divergence_of, start, init, direction):
    """Check the family at `init`, where values are known and errors can name what is wrong."""
    _, q = member(start)
    value = divergence_of(q)
    if jnp.shape(value) != ():
        raise ValueError(f"The family's member at init has a batch shape, {jnp.shape(value)}; it must be one q.")
    if not np.isfinite(value):
        pair = "KL(p||q)" if direction == "forward" else "KL(q||p)"
        without, with_some = ("q", "p") if direction == "forward" else ("p", "q")
        raise ValueError(
            f"{pair} is {value} at init = {init}. It is infinite where {with_some} has probability and {without}"
            " has none: start elsewhere, choose the other direction, or smooth."
        )
