"""A quasi-Newton ascent over a few hyperparameters to where the ELBO of all else given them is highest.

A normal of all coordinates together may end far from there, or move towards it by ever the same small steps. Once all
else is at its best for each value of the few, little is left to climb. The gradient of that ELBO by the few is the mean
of the log density's, since all else is at its best (the envelope theorem).

Reference: Nocedal & Wright (2006), "Numerical optimization", section 6.1.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from vi_kl.algorithms.algorithm import FitError
from vi_kl.algorithms.conditional_normal import Conditional
from vi_kl.algorithms.newton_steps import Outer
from vi_kl.core.gaussian import Gaussian

MOST_PLACES = 15
CLOSE = 0.05  # nats that a step promises, below which the ascent ends


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """What is seen of one value of the few, in the units of a normal of them; `Outer` reads it.

    Attributes:
        place: the value, (k,).
        others: the best normal of all else there.
        elbo: its ELBO; -inf where it could not be found.
        left_for_shared: the gradient of that by the place, (1, k).
        seed: a number of the noise, always the same.
    """

    place: Float[np.ndarray, " k"]
    others: Gaussian
    elbo: float
    left_for_shared: Float[np.ndarray, "1 k"]
    seed: int = 0

    @property
    def shared_precision(self) -> Float[np.ndarray, "k k"]:
        """The precision in whose units steps are measured: the identity."""
        return np.eye(len(self.place))


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A normal of the few, and how all else moves with them.

    Attributes:
        loc: its mean, (k,).
        tril: the Cholesky factor of its covariance; the few are loc + tril s.
        others: the best normal of all else at its mean.
        slopes: the change of the others' mean with s, about, (k, others).
    """

    loc: Float[np.ndarray, " k"]
    tril: Float[np.ndarray, "k k"]
    others: Gaussian
    slopes: Float[np.ndarray, "k others"]


def ascend(conditional: Conditional, frame: Frame) -> Frame:
    """Return the normal of the few around where the ELBO of all else is highest, from another.

    The search ends where a step promises little, or after a number of places; it keeps the best of them.
    """
    best = look_at(conditional, frame, np.zeros(len(frame.loc)), None)
    outer, seen = Outer(np.eye(len(frame.loc))), best
    for _ in range(MOST_PLACES):
        base, step = outer.step(seen)
        if seen.elbo > best.elbo:
            best = seen
        if outer.is_stuck or outer.nats(base.left_for_shared[0]) < CLOSE:
            break
        seen = look_at(conditional, frame, base.place + step, base)
    root = np.linalg.cholesky(np.linalg.inv(outer.curvature))
    loc = frame.loc + frame.tril @ best.place
    return Frame(loc, frame.tril @ root, best.others, root.T @ frame.slopes)


def look_at(conditional: Conditional, frame: Frame, s: Float[np.ndarray, " k"], near: Place | None) -> Place:
    """Return what is seen at a value of the few, all else from its best at a value nearby.

    Raises:
        FitError: all else cannot be found at the first value.
    """
    few = frame.loc + frame.tril @ s
    begin = frame.others if near is None else near.others
    moved = s if near is None else s - near.place
    try:
        others = conditional.best(few, Gaussian(begin.loc + moved @ frame.slopes, begin.scale))
        seen = conditional.look(few, others)
    except FitError:
        if near is None:
            raise
        return Place(s, begin, -np.inf, near.left_for_shared)
    gradient = seen.curvature.gradients.mean(axis=0)[conditional.few] @ frame.tril
    return Place(s, others, seen.elbo if np.isfinite(gradient).all() else -np.inf, np.nan_to_num(gradient)[None])
