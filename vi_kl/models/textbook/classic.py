"""Classic: a model of the literature with its data and what is known of its posterior."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vi_kl.reference import ReferencePosterior
from vi_kl.targets import Target


@dataclasses.dataclass(frozen=True)
class Classic:
    """A NumPyro model and its data, which makes its target when it is called.

    Attributes:
        model: the model.
        data: a function that returns the model's arguments, the same at every call.
        reference: a function from the target to its `ReferencePosterior`, where no run of MCMC is needed for it.
    """

    model: Callable
    data: Callable[[], tuple]
    reference: Callable[[Target], ReferencePosterior] | None = None

    def __call__(self) -> Target:
        """Make the target."""
        return Target.from_numpyro(self.model, *self.data(), reference=self.reference)


def logistic(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))
