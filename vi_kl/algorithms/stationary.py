"""Stationarity: whether an answer is at the top of the ELBO, tested on the answer and not on the way to it.

At the best member of a family that can be shifted and stretched along every coordinate, the derivative of the ELBO with
respect to each shift and each stretch is zero: E[g] = 0 and E[(z - m) g] = -1, with g the gradient of the log density
at draws z of q. The test uses fresh draws and q's own units, so that neither the noise that q was fitted to nor the
frame it was searched in plays a part. A search in the units of a wrong frame can end far below the top, where nothing
moves in those units.
"""

from typing import NamedTuple

import numpy as np

from vi_kl.core.scales import Diagonal
from vi_kl.families.frame import Frame

FLAT = 1e6  # the ratio of marginal to conditional sd above which a coordinate counts as unbounded
WIDEST = 1e10  # the sd in z above which no posterior of a model's parameters is taken for proper
SURE = 3.0  # the standard errors by which a slope must differ from zero


class Slope(NamedTuple):
    """The remaining slope of the ELBO, as far as it exceeds the noise.

    Attributes:
        nats: a rough figure of how much the ELBO could still rise.
        largest: the longest step left along one coordinate, in q's sds.
        coordinate: the index of that coordinate.
    """

    nats: float
    largest: float
    coordinate: int


def slope(z: np.ndarray, gradients: np.ndarray, frame: Frame | None) -> Slope:
    """Return the slope of the ELBO at q.

    Args:
        z: draws of q, (n, dim), the second half made of the opposite noise of the first.
        gradients: the gradients of the log density there, (n, dim).
        frame: q's own frame, if q is normal and correlated; with None each coordinate is taken by itself.
    """
    centre = z.mean(axis=0)
    correlated = frame is not None and not isinstance(frame.normal.scale, Diagonal)
    scale = frame.normal.scale if correlated else Diagonal(z.std(axis=0))
    u, pulls = scale.solve(z - centre), scale.apply_transpose(gradients)
    shift, stretch = certain(pulls), certain((1 + u * pulls) / 2)
    furthest = np.maximum(shift, stretch)
    return Slope(float(np.sum(shift**2) / 2 + np.sum(stretch**2)), float(furthest.max()), int(furthest.argmax()))


def certain(values: np.ndarray) -> np.ndarray:
    """Return by how much each column's mean differs from zero beyond its noise; infinite if it is not a number."""
    pairs = (values[: len(values) // 2] + values[len(values) // 2 :]) / 2
    error = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    return np.nan_to_num(np.maximum(np.abs(pairs.mean(axis=0)) - SURE * error, 0.0), nan=np.inf)


def unbounded(frame: Frame | None, names: tuple[str, ...], settled: bool) -> str | None:
    """Say along which coordinate a normal grows without bound, as for improper posteriors; return None if along none.

    A normal that has settled may be narrow and long, as those of nearly collinear predictors are.
    """
    if frame is None:
        return None
    sd = frame.normal.sd
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.maximum(0.0 if settled else sd / np.asarray(frame.conditional_sd) / FLAT, sd / WIDEST)
    worst = int(np.argmax(np.nan_to_num(excess, nan=np.inf)))
    if excess[worst] < 1:
        return None
    return (
        f"Its sd along '{names[worst]}' has grown to {sd[worst]:.1g} and nothing seems to hold it: the posterior may "
        f"be flat there, and so improper. Give '{names[worst]}' a proper prior, or drop what it "
        f"cannot be told apart from."
    )
