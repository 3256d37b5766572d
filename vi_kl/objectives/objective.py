"""Objective: a loss to be minimised, as a pure function of a key, parameters, a family and a target."""

import abc
import dataclasses

from vi_kl.families.family import Family
from vi_kl.target.target import Target


@dataclasses.dataclass(frozen=True)
class Objective(abc.ABC):
    """What the best member of a family means. Instances are hashable: a static part of compiled code."""

    @abc.abstractmethod
    def __call__(self, key, params, family: Family, target: Target):
        """An estimate of the loss, in nats; its gradient in `params` is what an algorithm follows."""

    @property
    @abc.abstractmethod
    def density_evaluations(self) -> int:
        """Evaluations of the target's log density (and of its gradient) that one call takes."""
