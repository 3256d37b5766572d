"""Normals as images of noise, with the gradients of their free parameters, in NumPy: nothing is compiled for them."""

import dataclasses

import numpy as np
from jaxtyping import Float

from vi_kl.core.annotations import Params
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.scales import Diagonal, Scale, Triangular


@dataclasses.dataclass(frozen=True, eq=False)
class NormalOnNoise:
    """A normal whose location moves along a frame's axes.

    Attributes:
        normal: the normal, in z.
        axes: the frame's scale: of one of the location's parameters, a step of 1 is a column of it.
    """

    normal: Gaussian
    axes: Scale

    def push(self, u: Float[np.ndarray, "n dim"]) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Return z and log q(z) at noise u."""
        return self.normal.unwhiten(u), -0.5 * (u**2).sum(axis=1) - self.normal.log_volume


class MeanFieldOnNoise(NormalOnNoise):
    """Independent coordinates, of which each sd has a parameter: its logarithm, up to a constant."""

    def pull_back(self, u: Float[np.ndarray, "n dim"], slopes: Float[np.ndarray, "n dim"]) -> Params:
        """Return the gradient of the mean of log q - log p, from the gradients of log p at the images of noise u."""
        loc = -self.axes.apply_transpose(slopes.mean(axis=0))
        assert isinstance(self.normal.scale, Diagonal), "its coordinates are independent"
        return {"loc": loc, "log_scale": -(slopes * u).mean(axis=0) * self.normal.scale.sds - 1}


@dataclasses.dataclass(frozen=True, eq=False)
class FullRankOnNoise(NormalOnNoise):
    """Any covariance: the scale is that of the frame times a triangular one, whose rows are in units of its diagonal.

    Attributes:
        inner: the triangular scale in the frame's units.
    """

    inner: Triangular

    def pull_back(self, u: Float[np.ndarray, "n dim"], slopes: Float[np.ndarray, "n dim"]) -> Params:
        """Return the gradient of the mean of log q - log p, from the gradients of log p at the images of noise u."""
        pulls, root = -self.axes.apply_transpose(slopes) / len(u), self.inner.root
        by_root = pulls.T @ u
        by_ratio = by_root * np.diag(root)[:, None]
        return {
            "loc": pulls.sum(axis=0),
            "log_scale": (by_root * root).sum(axis=1) - 1,
            "below": by_ratio[np.tril_indices(len(root), -1)],
        }
