"""KL as the objective: the member of a family nearest to p, in either direction.

Forward, KL(p||q), makes q cover all of p: the fit of maximum likelihood. Reverse, KL(q||p), keeps q where p has
probability: the objective of variational inference.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.distributions import Distribution, biject_to, constraints
from scipy.optimize import minimize

from vi_kl.compilation import compiled
from vi_kl.divergences.kl import kl_divergence
from vi_kl.estimate import Estimate
from vi_kl.precision import as_float64, as_numpy, in_float64

DIRECTIONS = ("forward", "reverse")
POLISHED_DIMENSION = 100  # up to it, Newton steps follow L-BFGS
SMALL_GRADIENT = 1e-7  # in nats per unit of the unconstrained parameters
FAR_OUT = 12.0  # unconstrained; a probability there is within 1e-5 of 0 or 1


@dataclasses.dataclass(frozen=True)
class Projection:
    """The member of a family nearest to p.

    Attributes:
        params: the parameters at the minimum, in the structure of `init`; NumPy arrays, or floats for scalars.
        divergence: the minimal divergence, in `unit`.
        unit: "nats" or "bits".
        direction: "forward" for KL(p||q), "reverse" for KL(q||p).
        converged: whether a minimum was found.
        status: what happened, in a sentence, and what to try where it did not converge.
        q: the nearest member, as `family` returned it.
    """

    params: Any
    divergence: float
    unit: str
    direction: str
    converged: bool
    status: str
    q: Any


@in_float64
def project(
    p, family: Callable, *, init, direction: str = "forward", support=None, base=None, max_steps: int = 500
) -> Projection:
    """The member of `family` with the smallest KL divergence from p, or to p.

    The minimum is sought by gradient (L-BFGS, then Newton steps) from `init`, on an unconstrained scale. It is
    the nearest one downhill: where there may be several, start from several places.

    Args:
        p: a pmf array, or a NumPyro distribution.
        family: from parameters to a pmf array over p's support, or to a distribution whose divergence with p
            has a closed form. Written with jax.numpy.
        init: the parameters to start from: a number, an array, or a dict of them.
        direction: "forward" minimises KL(p||q) and makes q cover p; "reverse" minimises KL(q||p) and keeps q
            inside p.
        support: what each parameter may be, as a NumPyro constraint (`constraints.unit_interval`), or a dict
            of constraints for a dict of parameters; those left out are real numbers.
        base: 2 for bits, None for nats.
        max_steps: the most L-BFGS steps.

    Returns:
        Projection.

    Raises:
        ValueError: an unknown direction, `init` outside `support`, or a divergence that is not finite at `init`.
        TypeError: a family that returns the wrong kind of thing.
        NoClosedForm: distributions whose divergence has no closed form.

    Example:
        >>> binomial = lambda p: jnp.exp(dist.Binomial(10, p).log_prob(jnp.arange(11)))
        >>> project(observed(), binomial, init=0.5, support=constraints.unit_interval).params
        0.5689...
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be 'forward' (KL(p||q)) or 'reverse' (KL(q||p)), not {direction!r}.")
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    if isinstance(p, Distribution):
        p = jax.tree.map(as_float64, p)
    else:
        kl_divergence(p, p)  # checks p in its own precision
        p = np.asarray(p, dtype=np.float64)
    start, constrain, bounded = unconstrained_start(init, support)

    def divergence_of(q):
        return kl_divergence(p, q) if direction == "forward" else kl_divergence(q, p)

    @compiled
    def member(z):
        params = constrain(z)
        return params, family(params)

    check_start(member, divergence_of, start, init, direction)
    value_and_gradient = compiled(jax.value_and_grad(lambda z: divergence_of(member(z)[1])))
    z, steps = minimise(value_and_gradient, np.asarray(start), max_steps)
    params, q = jax.tree.map(as_numpy, member(z))
    params = jax.tree.map(lambda value: float(value) if np.ndim(value) == 0 else value, params)
    converged, status = verdict(value_and_gradient, z, bounded, steps)
    divergence = Estimate(value_and_gradient(z)[0]).to("nats" if base is None else "bits")
    return Projection(params, divergence.value, divergence.unit, direction, converged, status, q)


def unconstrained_start(init, support):
    """The flat unconstrained vector of `init`, the way back to parameters, and which entries have an edge."""
    init = jax.tree.map(lambda value: jnp.asarray(value, dtype=jnp.float64), init)
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
    """The constraint of the parameter at this place of `init`."""
    if not isinstance(support, dict):
        return constraints.real if support is None else support
    unknown_place = len(path) != 1 or not hasattr(path[0], "key")
    if unknown_place:
        raise ValueError("support is a dict, so init must be a dict of parameters too.")
    return support.get(path[0].key, constraints.real)


def check_start(member, divergence_of, start, init, direction):
    """Try the family at `init`, where values are known and its mistakes can be named."""
    try:
        _, q = member(start)
    except jax.errors.JAXTypeError as error:
        raise TypeError(
            "family cannot be differentiated by JAX; write it with jax.numpy and NumPyro, not with NumPy or SciPy:"
            f" {str(error).splitlines()[0]}"
        ) from error
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


def minimise(value_and_gradient, start, max_steps):
    """The lowest point found, and the number of steps."""

    def for_scipy(z):
        value, gradient = value_and_gradient(z)
        # a line search that meets inf or NaN steps back; scipy itself would carry NaN on
        usable = np.isfinite(value) and np.all(np.isfinite(gradient))
        return (float(value), np.asarray(gradient)) if usable else (1e300, np.zeros(len(z)))

    options = {"maxiter": max_steps, "ftol": 0.0, "gtol": 1e-12, "maxls": 50}
    found = minimize(for_scipy, start, jac=True, method="L-BFGS-B", options=options)
    return polish(value_and_gradient, found.x), int(found.nit)


def polish(value_and_gradient, z, rounds=3):
    """Newton steps, each kept only if the gradient shrinks: they settle the last digits."""
    gradient = np.asarray(value_and_gradient(z)[1])
    if len(z) > POLISHED_DIMENSION or not np.all(np.isfinite(gradient)):
        return z
    for _ in range(rounds):
        curvature = hessian(value_and_gradient, z)
        if not np.all(np.isfinite(curvature)) or np.linalg.eigvalsh(curvature)[0] <= 0:
            break
        proposal = z - np.linalg.solve(curvature, gradient)
        proposed_gradient = np.asarray(value_and_gradient(proposal)[1])
        if not np.linalg.norm(proposed_gradient) < np.linalg.norm(gradient):
            break
        z, gradient = proposal, proposed_gradient
    return z


def hessian(value_and_gradient, z, step=1e-4):
    """Central differences of the exact gradient: eight digits, without compiling a second derivative."""
    shifts = step * np.eye(len(z))
    columns = [(value_and_gradient(z + s)[1] - value_and_gradient(z - s)[1]) / (2 * step) for s in shifts]
    return (np.stack(columns) + np.stack(columns).T) / 2


def verdict(value_and_gradient, z, bounded, steps):
    """Whether z is a minimum, and a sentence for the reader."""
    gradient = np.asarray(value_and_gradient(z)[1])
    largest = float(np.abs(gradient).max())
    if not largest <= SMALL_GRADIENT:
        return False, (
            f"not converged: the gradient is still {largest:.1e} after {steps} steps; raise max_steps or start"
            " elsewhere."
        )
    far = bounded & (np.abs(z) > FAR_OUT)
    if far.any() and (
        len(z) > POLISHED_DIMENSION or (np.abs(np.diag(hessian(value_and_gradient, z)))[far] < 1e-6).any()
    ):
        return False, "no minimum inside the support: the divergence keeps falling towards the edge of the support."
    return True, f"converged in {steps} steps: the largest gradient is {largest:.1e}."
