"""Models that can be run forwards: what `calibrate` asks of a source, before there are any data.

A NumPyro model is a function. The model of another source says that it can be run forwards by a method

    simulator(args, kwargs, observed) -> Simulator

where args and kwargs are what `calibrate` was called with besides, and `observed` names the sites that are the data.
"""

from typing import Any, Protocol

import numpy as np

from vi_kl.targets.target import Target


class Simulator(Protocol):
    """A model that draws its parameters from the prior, and data given these."""

    def draw(self, key, num: int) -> dict[str, np.ndarray]:
        """Return {site: (num, ...)} of `num` runs: every latent site, and those that are observed."""

    def posteriors(self, data: dict[str, np.ndarray]) -> list[Target]:
        """Return the posterior given each of the data sets {observed site: (num, ...)}, all of one structure."""

    def draw_given(self, latent: dict[str, np.ndarray], key) -> dict[str, np.ndarray]:
        """Return {observed site: (num, ...)}, data drawn once with each of the latent values {site: (num, ...)}."""

    def augmented(self, data: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> list[Target]:
        """Return the posterior given `given`, {observed site: value}, and each of the data sets as well."""


def simulator_of(model: Any, args: tuple, kwargs: dict, observed: tuple[str, ...]) -> Simulator:
    """Return a simulator, which runs the model forwards.

    Raises:
        TypeError: The model cannot be run forwards.
    """
    if hasattr(model, "simulator"):
        return model.simulator(args, kwargs, observed)
    if callable(model):
        from vi_kl.targets.numpyro.simulation import NumPyroSimulator

        return NumPyroSimulator(model, args, kwargs, observed)
    raise TypeError(
        f"model must be a NumPyro model (a function), or offer `simulator(args, kwargs, observed)`, which runs it "
        f"forwards: got {type(model).__name__}."
    )
