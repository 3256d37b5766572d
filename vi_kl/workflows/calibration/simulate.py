"""Simulated data sets: the model run forwards, and its posterior for each data set that it makes.

Requires a model whose latent sites all have proper priors, and which is called without its data. All targets share
one structure, with the simulated data an argument, so that nothing is compiled more than once.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpyro.infer.autoguide import AutoGuide

from vi_kl.algorithms.algorithm import Algorithm
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.errors import ModelError
from vi_kl.families.family import Family
from vi_kl.families.guide import Guide
from vi_kl.targets.simulation import simulator_of
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class Simulation:
    """A set of parameters and data drawn together from a model, with the posteriors given the data.

    Attributes:
        latent: the true parameters, {site: (num_data_sets, ...)}.
        data: the data, {site: (num_data_sets, ...)}.
        targets: the posteriors, one per data set, all of one structure.
    """

    latent: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    targets: list[Target]


@dataclasses.dataclass(frozen=True)
class ConditionedGuide:
    """A guide with the arguments of a `Conditioned` model: its own, and data where an argument is named after it."""

    guide: Callable

    @property
    def __name__(self):
        return getattr(self.guide, "__name__", type(self.guide).__name__)

    def __call__(self, data, *args, **kwargs):
        signature = inspect.signature(self.guide)
        given = signature.bind_partial(*args, **kwargs)
        given.arguments.update({name: value for name, value in data.items() if name in signature.parameters})
        return self.guide(*given.args, **given.kwargs)


def simulate(model: Any, args: tuple, kwargs: dict, observed: tuple[str, ...], key, num_data_sets: int) -> Simulation:
    """Draw parameters and data sets from the model."""
    simulator = simulator_of(model, args, kwargs, observed)
    drawn = simulator.draw(key, num_data_sets)
    data = {name: drawn[name] for name in observed}
    targets = simulator.posteriors(data)
    return Simulation({name: drawn[name] for name in targets[0].site_names}, data, targets)


def simulate_given(
    model: Any, args: tuple, kwargs: dict, given: dict[str, np.ndarray], method: Any, keys, num_data_sets: int
) -> Simulation:
    """Draw parameters from the fit to data that were seen, and data given these.

    The targets are the posteriors given both data.

    Raises:
        ModelError: the model has discrete latent sites.
        ValueError: the method is a guide that reads the data.
    """
    simulator: Any = simulator_of(model, args, kwargs, tuple(given))
    target = simulator.posterior(given)
    if target.density.discrete:
        raise ModelError(
            f"'{target.density}' has discrete latent sites, which are summed out, so that no data can be simulated "
            "given the parameters alone: calibrate it without `given`."
        )
    refuse_reader_of_data(method, given)
    q = procedure(method, target).fit(keys[0], target).approximation
    latent = {name: np.asarray(x) for name, x in q.sample(keys[1], num_data_sets).items() if name in target.site_names}
    drawn = simulator.draw_given(latent, keys[2])
    data = {name: drawn[name] for name in given}
    return Simulation(latent, data, simulator.augmented(data, given))


def refuse_reader_of_data(method: Any, given: dict) -> None:
    """Raise an error for a guide that takes the data, of which there are now two."""
    if not callable(method) or isinstance(method, type | Algorithm | Family | AutoGuide):
        return
    read = sorted(set(given) & set(inspect.signature(method).parameters))
    if read:
        raise ValueError(
            f"This guide reads the data ('{read[0]}'), and given data that were seen it is fitted to two sets of them: "
            "calibrate it without `given`."
        )


def procedure(method: Any, target: Target) -> Algorithm:
    """Return the algorithm that a method stands for, with guides taking the model's own arguments."""
    if isinstance(method, AutoGuide):
        refuse_autoguide(method)
    if callable(method) and not isinstance(method, type | Algorithm | Family):
        return choose_algorithm(target, ConditionedGuide(method))
    algorithm = choose_algorithm(target, method)
    if not isinstance(algorithm, SVI) or not isinstance(algorithm.family, Guide):
        return algorithm
    guide, name = algorithm.family.guide, algorithm.family.name
    if not isinstance(guide, AutoGuide):
        return dataclasses.replace(algorithm, family=Guide(ConditionedGuide(guide), name))
    if not target.density.offers("numpyro_guides") or guide.model is not target.density.guide_model:
        refuse_autoguide(guide)
    return algorithm


def refuse_autoguide(guide) -> None:
    name = type(guide).__name__
    raise ValueError(
        f"This {name} belongs to the model without its simulated data. Give the class, {name}, which is then made "
        "for the model with its data."
    )
