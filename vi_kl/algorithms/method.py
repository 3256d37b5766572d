"""Method: the description of an algorithm that `fit` knows by name."""

import dataclasses
from collections.abc import Callable
from typing import Literal, TypeAlias

from vi_kl.algorithms.algorithm import Algorithm
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.families.family import Family

# Okabe & Ito's palette, whose colours colour-blind readers can tell apart, and three more because eight are too few
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PINK, PURPLE, BROWN, GREY = "#D55E00", "#CC79A7", "#7B5EA7", "#8C6D31", "#444444"
KINDS = {
    "default": "no choice made",
    "normal": "normal distributions",
    "richer": "richer than a normal distribution",
    "sites": "on the model's own sites",
    "points": "points, without a density",
}


# What `fit` takes for a method: a name, a family or an algorithm (or the class of one), a NumPyro guide.
MethodLike: TypeAlias = str | Family | Algorithm | Callable | type


@dataclasses.dataclass(frozen=True)
class Method:
    """An algorithm with its family, as `fit` makes it from a name, and its description in tables and figures.

    Attributes:
        name: the name by which `fit` knows it.
        make: a function that makes the algorithm, with its settings.
        kind: the kind of q that it finds, one of `KINDS`.
        what: what q is, or how it is found, in a sentence.
        when: the case in which to use it, a sentence that begins with "Where", "For", "To" or the like.
        requires: what it requires of the target, beyond a log density that is finite where q draws.
        colour: the colour of its lines and points in figures; methods that look for the same q share one. The default
            is one of a few greys and browns, chosen by the name.
        dash: the pattern of its lines, to tell methods of one colour apart.
        synonyms: other names for it; case, spaces, hyphens and underscores do not count.
    """

    name: str
    make: Callable[[], Algorithm]
    kind: Literal["default", "normal", "richer", "sites", "points"]
    what: str
    when: str
    requires: str = "a differentiable log density"
    colour: str | None = None
    dash: Literal["solid", "dashed", "dotted", "dash_dot"] = "solid"
    synonyms: tuple[str, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"The kind of {self.name!r} must be one of {', '.join(KINDS)}, not {self.kind!r}.")

    @property
    def family(self) -> Family | None:
        """The family that a general algorithm fits under this name; None for algorithms that have their own."""
        algorithm = self.make()
        return algorithm.family if isinstance(algorithm, SVI | SampleAverageApproximation) else None

    def __str__(self):
        return f"{self.what} {self.when}"
