"""The minimum of a smooth function, by L-BFGS and then Newton steps, and a sentence on what was found."""

import dataclasses

import numpy as np

POLISHED_DIMENSION = 100  # up to it, Newton steps follow L-BFGS
SMALL_GRADIENT = 1e-7  # in nats per unit of the unconstrained parameters
FAR_OUT = 12.0  # unconstrained; a probability there is within 1e-5 of 0 or 1
FLAT = 1e-5  # nats; a minimum rises by far more when a parameter is multiplied by exp(3)
SAME_PLACE = 1e-3  # unconstrained; minima nearer to each other than this are one


@dataclasses.dataclass(frozen=True)
class Minimum:
    """A point where a descent ended.

    Attributes:
        z: the unconstrained parameters.
        value: the function there.
        converged: whether it is a minimum.
        status: what happened, in a sentence.
    """

    z: np.ndarray
    value: float
    converged: bool
    status: str


def descend(value_and_gradient, start, bounded, max_steps, reach=np.inf) -> Minimum:
    """Find the minimum downhill of `start`.

    Args:
        bounded: which parameters have an edge.
        reach: how far from the start these are searched; farther out, near the edge, rounding would dominate.
    """
    limits = np.where(bounded, reach, np.inf)
    z, steps = minimise(value_and_gradient, start, max_steps, list(zip(start - limits, start + limits, strict=True)))
    converged, status = verdict(value_and_gradient, z, bounded, steps)
    return Minimum(z, float(value_and_gradient(z)[0]), converged, status)


def distinct(minima: list[Minimum]) -> list[Minimum]:
    """Return the converged minima, lowest first, each place once."""
    kept = []
    for minimum in sorted((m for m in minima if m.converged), key=lambda m: m.value):
        if all(np.abs(minimum.z - other.z).max() > SAME_PLACE * (1 + np.abs(other.z).max()) for other in kept):
            kept.append(minimum)
    return kept


def minimise(value_and_gradient, start, max_steps, bounds):
    """Return the lowest point found, and the number of steps."""
    from scipy.optimize import minimize as scipy_minimize  # imported here, as it is slow and seldom needed

    def for_scipy(z):
        value, gradient = value_and_gradient(z)
        # a line search that meets inf or NaN steps back; SciPy itself would carry NaN on
        usable = np.isfinite(value) and np.all(np.isfinite(gradient))
        return (float(value), np.asarray(gradient)) if usable else (1e300, np.zeros(len(z)))

    options = {"maxiter": max_steps, "ftol": 0.0, "gtol": 1e-12, "maxls": 50}
    found = scipy_minimize(for_scipy, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return polish(value_and_gradient, found.x), int(found.nit)


def polish(value_and_gradient, z, rounds=3):
    """Take Newton steps, each kept only if the gradient shrinks: they settle the last digits."""
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
    """Return the Hessian by central differences of the exact gradient.

    It has eight digits, and no second derivative is compiled.
    """
    shifts = step * np.eye(len(z))
    columns = [(value_and_gradient(z + s)[1] - value_and_gradient(z - s)[1]) / (2 * step) for s in shifts]
    return (np.stack(columns) + np.stack(columns).T) / 2


def verdict(value_and_gradient, z, bounded, steps):
    """Return whether z is a minimum, and a sentence for the reader."""
    if any(still_falling(value_and_gradient, z, place) for place in np.flatnonzero(bounded & (np.abs(z) > FAR_OUT))):
        return False, "no minimum inside the support: the divergence keeps falling towards the edge of the support."
    gradient = np.asarray(value_and_gradient(z)[1])
    largest = float(np.abs(gradient).max())
    if not largest <= SMALL_GRADIENT:
        return False, (
            f"not converged: the gradient is still {largest:.1e} after {steps} steps; raise max_steps or start"
            " elsewhere."
        )
    return True, f"converged in {steps} steps: the largest gradient is {largest:.1e}."


def still_falling(value_and_gradient, z, place) -> bool:
    """Return whether the function hardly rises farther out: then its minimum is at the edge, not here."""
    farther = np.array(z)
    farther[place] += np.copysign(3.0, z[place])
    return bool(value_and_gradient(farther)[0] - value_and_gradient(z)[0] < FLAT)
