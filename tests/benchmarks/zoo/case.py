"""Case: a model with the function that makes its data, which is what every file of models lists."""

import dataclasses
import inspect
from collections.abc import Callable

from vi_kl.models.catalogue import CATALOGUE
from vi_kl.models.textbook import CLASSICS
from vi_kl.models.textbook.classic import logistic
from vi_kl.targets import Target

__all__ = ["Case", "logistic", "named", "of_catalogue"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A NumPyro model, and the data it is fitted to.

    Attributes:
        model: the model, whose docstring says in one line what is hard about it, unless `words` does.
        data: a function that returns the model's arguments; the same at every call.
        dim: the number of dimensions of z.
        label: the name, where one model is several cases.
        known: a function that returns what is known without NUTS: {site: (mean, sd)}, and "log_evidence" if it is.
        words: what is hard about it, where the docstring does not say it.
    """

    model: Callable
    data: Callable[[], tuple]
    dim: int
    label: str = ""
    known: Callable[[], dict] | None = None
    words: str = ""

    @property
    def name(self) -> str:
        """The name on the command line: the label, or the model's name."""
        return self.label or self.model.__name__

    @property
    def hard(self) -> str:
        """What is hard about it."""
        return self.words or inspect.getdoc(self.model).splitlines()[0]

    def target(self) -> Target:
        """Return the posterior."""
        return Target.from_numpyro(self.model, *self.data())


def of_catalogue(name: str, label: str = "") -> Case:
    """Return the case that is a model of vi_kl's own catalogue."""
    classic, entry = CLASSICS[name], CATALOGUE[name]
    words = f"{entry.hard[0].upper()}{entry.hard[1:]}."
    return Case(classic.model, classic.data, entry.dim, label or name, words=words)


def named(*groups: list[Case]) -> dict[str, Case]:
    """Return {name: case} of several lists; refuse a name that occurs twice."""
    cases = [case for group in groups for case in group]
    found = {case.name: case for case in cases}
    if len(found) < len(cases):
        raise ValueError("Two cases have one name.")
    return found
