"""A target whose model is not here: what a saved fit has of its target, when it is loaded without one.

It has the sites, and so the dimension, which is all that q needs to be drawn from in z and to give its own log density.
Whatever asks for the model itself is refused, and told how to bring it.
"""

import dataclasses
from collections.abc import Iterable
from typing import NoReturn

from vi_kl.core.errors import UnsuitableError
from vi_kl.targets.density import Density
from vi_kl.targets.sites import Site
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class WithoutModel(Density):
    """The place of a model that is not here.

    Attributes:
        model: its name.
        path: the file of the fit.
    """

    model: str
    path: str

    source = "a saved fit without its model"

    def __str__(self):
        return self.model

    def refuse(self, *arguments) -> NoReturn:
        raise UnsuitableError(
            f"The fit in {self.path} was loaded without '{self.model}', the model that it is of: it can be drawn from "
            f"in z (fit.approximation.sample_and_log_prob) and no more. vi_kl.load(path, target) takes the target too, "
            f"made from the same model and data."
        )

    log_density = constrain = unconstrain = explain = refuse
    programs = property(refuse)  # which a file of the fit would keep


def target_without_model(model: str, path: str, sites: Iterable[tuple[str, list[int], list[int]]]) -> Target:
    """Return a target of these sites, each with its shape and its unconstrained one, and of no model."""
    known = tuple(Site(name, tuple(shape), tuple(unconstrained)) for name, shape, unconstrained in sites)
    return Target(WithoutModel(model, path), None, known)
