"""Plates that subsample: which of their rows a run of the model sees.

A Target is the posterior given all rows, so a model written for minibatches is run with every plate whole. Which
rows a plate hands out is decided here, from outside the model, and never drawn by the plate itself.
"""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
from numpyro.primitives import Messenger


@dataclasses.dataclass(frozen=True)
class Plate:
    """A subsampling plate: `batch` of `size` rows."""

    name: str
    size: int
    batch: int


def rows_shapes(plates: tuple[Plate, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the rows of a minibatch, {plate: indices}."""
    return {plate.name: jax.ShapeDtypeStruct((plate.batch,), int) for plate in plates}


class SubsampledRows(Messenger):
    """A handler under which subsampling plates have the rows given for them, or all of their rows.

    Attributes:
        rows: {plate: its rows}; a whole plate that is named has these too.
        counted: the names of whole plates that count as subsampling ones, with minibatches of all rows.
        plates: the subsampling plates met, by name.
    """

    def __init__(self, fn: Callable | None = None, rows: Mapping | None = None, counted: Collection[str] = ()):
        super().__init__(fn)
        self.rows, self.counted = rows or {}, counted
        self.plates: dict[str, Plate] = {}

    def process_message(self, msg):
        if msg["type"] == "control_flow":  # the bodies of scan and cond run where no handler outside is heard
            msg["args"] = tuple(self.inside(arg) if callable(arg) else arg for arg in msg["args"])
        if msg["type"] != "plate":
            return
        name, (size, batch) = msg["name"], msg["args"]
        if msg["value"] is not None and name not in self.rows and name not in self.counted:
            return  # a plate that does not subsample has its rows already
        self.plates[name] = Plate(name, size, batch or size)
        msg["value"] = self.rows[name] if name in self.rows else jnp.arange(size)
        msg["args"] = (size, None)  # how many rows there are is now told by the rows themselves

    def inside(self, body: Callable) -> Callable:
        def with_rows(*args):
            handler = type(self)(rows=self.rows, counted=self.counted)
            handler.plates = self.plates
            with handler:
                return body(*args)

        return with_rows


class ChosenRows(SubsampledRows):
    """A handler under which subsampling plates have the rows given for them, and no others stand behind these."""

    def process_message(self, msg):
        super().process_message(msg)
        if msg["type"] == "sample" and msg["scale"] is not None:
            for frame in msg["cond_indep_stack"]:
                if frame.name in self.rows and frame.name in self.plates:
                    msg["scale"] = msg["scale"] * len(self.rows[frame.name]) / self.plates[frame.name].size


@dataclasses.dataclass(frozen=True)
class OfRows:
    """A model whose first argument is {plate: indices}: the rows that there are of its subsampling plates."""

    function: Callable

    def __call__(self, rows, *args, **kwargs):
        with ChosenRows(rows=rows):
            return self.function(*args, **kwargs)

    @property
    def __name__(self):
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def __signature__(self):
        own = inspect.Parameter("rows", inspect.Parameter.POSITIONAL_ONLY)
        rest = inspect.signature(self.function).parameters.values()
        return inspect.Signature([own, *rest])


@dataclasses.dataclass(frozen=True)
class AllRows:
    """A model, or a guide, whose plates are whole."""

    function: Callable

    def __call__(self, *args, **kwargs):
        with SubsampledRows():
            return self.function(*args, **kwargs)

    @property
    def __name__(self):
        return getattr(self.function, "__name__", type(self.function).__name__)


def plates_of_axes(site: dict) -> tuple[str | None, ...]:
    """Return the plate of each axis of a traced site's value, and None for an axis of no plate."""
    shape, event_dim = jnp.shape(site["value"]), site["fn"].event_dim if site["type"] == "sample" else 0
    names: list[str | None] = [None] * len(shape)
    for frame in site.get("cond_indep_stack", ()):
        axis = len(shape) - event_dim + frame.dim
        if axis >= 0 and shape[axis] == frame.size:
            names[axis] = frame.name
    return tuple(names)
