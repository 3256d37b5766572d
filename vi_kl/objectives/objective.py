"""Objective: a loss to be minimised, as a pure function of a key, parameters, a family and a target."""

import abc
import dataclasses

from jaxtyping import Array, Float

from vi_kl.core.annotations import Params
from vi_kl.core.errors import ViKLError
from vi_kl.core.suggestions import NamesItsSettings
from vi_kl.families.family import Family
from vi_kl.targets.target import Target


class ObjectiveError(ViKLError, ValueError):
    """An error: the objective cannot be followed for this family or target; the message says why, and what can."""


@dataclasses.dataclass(frozen=True)
class Objective(NamesItsSettings, abc.ABC):
    """A definition of the best member of a family. Instances are hashable: a static part of compiled code."""

    @abc.abstractmethod
    def __call__(self, key: Array, params: Params, family: Family, target: Target) -> Float[Array, ""]:
        """Estimate the loss, in nats; algorithms follow the gradient of the estimate in `params`."""

    @property
    @abc.abstractmethod
    def density_evaluations(self) -> int:
        """The number of evaluations of the target's log density (and of its gradient) that one call takes."""

    def require(self, family: Family, target: Target) -> None:
        """Raise an `ObjectiveError` that says why this objective cannot be followed, before a fit begins.

        What only a run of a guide can show is checked when the loss is first traced.
        """


def check_count(name: str, value: int, least: int = 1) -> None:
    """Refuse a number of draws that is not a whole number, or is too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, not {value!r}.")
