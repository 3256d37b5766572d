"""Captured densities: functions that a density is made of are kept as programs, and what they close over as data."""

import contextlib
import dataclasses
import functools
from typing import Any, ClassVar

import jax
import numpy as np

from vi_kl.core.precision import in_float64
from vi_kl.core.programs.in_float32 import in_float32
from vi_kl.core.programs.program import Program, capture, kept, shape_of

IN_FLOAT32 = ("log_density", "minibatch")  # programs that compute in 32 bits where that is asked for


class ChangedError(ValueError):
    """A function reads other values than when the target was made of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Captured:
    """A density whose methods `model_<name>`, which run a user's function, are kept as programs.

    Its data are `num_arguments` arrays that the function is called with, and then those that it closes over. Two
    are equal where the programs are: what runs in compiled code is a program, and never the function itself.

    Attributes:
        programs: (name, program, places of what it closes over among all arrays closed over) of each.
        closed_over: the arrays themselves, for data that are given without them.
        float_type: "float32" if the programs that evaluate the log density compute in 32 bits (`IN_FLOAT32`).
        live: names of the fields from which the programs were traced, and on which nothing depends once they are.
    """

    live: ClassVar[tuple[str, ...]] = ("model", "function")

    programs: tuple[tuple[str, Program, tuple[int, ...]], ...] = dataclasses.field(default=(), kw_only=True, repr=False)
    closed_over: tuple = dataclasses.field(default=(), kw_only=True, repr=False)
    float_type: str = dataclasses.field(default="float64", kw_only=True)

    def run(self, name: str, data, *arguments):
        """Return what `model_<name>(data, *arguments)` gave when it was captured, or gives now if it was not."""
        for own, program, places in self.programs:
            if own == name:
                given, closed_over = self.split(data)
                return program([closed_over[i] for i in places], given, *arguments)
        return getattr(self, f"model_{name}")(data, *arguments)

    def program_of(self, name: str, *shapes) -> tuple[Program, list]:
        """Trace `model_<name>` for arguments of these shapes; return its program, and what it closes over."""
        program, constants = capture(getattr(self, f"model_{name}"), *shapes)
        return (in_float32(program) if self.float_type == "float32" and name in IN_FLOAT32 else program), constants

    def model_log_density_in_64_bits(self, data, sites):
        return self.model_log_density(data, sites)  # type: ignore[attr-defined]  # every captured density has it

    def split(self, data) -> tuple[tuple, tuple]:
        """Return the arrays that the function is called with, and those that it closes over."""
        return tuple(data[: self.num_arguments]), tuple(data[self.num_arguments :])

    def complete(self, data):
        """Return the data with what the function closes over, if they are new arguments for it without that."""
        if isinstance(data, tuple) and len(data) == self.num_arguments:
            return (*data, *self.closed_over)
        return data

    def explain_failure(self, name: str, error: Exception) -> Exception:
        """Return the error to raise if `model_<name>` cannot be traced."""
        return error

    @property
    def narrow(self) -> bool:
        """Whether the function cannot be traced in 64 bits."""
        return any(program.narrow for _, program, _ in self.programs)

    def own_precision(self):
        """Return the context in which the function itself can be run."""
        return jax.enable_x64(False) if self.narrow else contextlib.nullcontext()

    @in_float64
    def require_unchanged(self, data) -> None:
        """Raise an error where the function itself, which is about to be run, is no longer what it was.

        Raises:
            ChangedError: it reads other values now.
        """
        if not self.programs:
            return
        name, program, places = self.programs[0]
        now, constants = self.program_of(name, *program.shapes)
        _, then = self.split(data)
        if now is not program or not all(same(then[i], x) for i, x in zip(places, constants, strict=True)):
            raise ChangedError(
                f"'{self}' reads values (globals, attributes, variables of an enclosing function) that have been "
                f"replaced since the target was made. Its log density is still that of the old ones, but this takes a "
                f"run of the function itself: make the target anew."
            )

    @functools.cached_property
    def identity(self) -> tuple:
        """What compiled code depends on. The function itself counts where nothing was captured of it."""
        skipped = ("programs", "closed_over", *(self.live if self.programs else ()))
        own = tuple(getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in skipped)
        return type(self), self.programs, getattr(self, "discrete", ()), *own

    def __eq__(self, other):
        return self is other or (isinstance(other, Captured) and self.identity == other.identity)

    @functools.cached_property
    def hash(self) -> int:
        return hash(self.identity)

    def __hash__(self):
        return self.hash

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):
        shapes = {name: (program.shapes, program.constant_shapes) for name, program, _ in self.programs}
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return state | {"programs": (shapes, [places for *_, places in self.programs])}

    def __setstate__(self, state):
        """Trace the function again; the values that it closes over come with the data."""
        shapes, places = state["programs"]
        vars(self).update(state, programs=())
        programs = []
        for (name, (arguments, constants)), where in zip(shapes.items(), places, strict=True):
            program = in_float64(self.program_of)(name, *arguments)[0]
            if program.constant_shapes != constants:
                raise ChangedError(f"'{self}' is not the function that the target was made of.")
            programs.append((name, program, where))
        vars(self).update(programs=tuple(programs))


class CapturedModel(Captured):
    """A captured density whose log density and change of variables are programs."""

    def log_density(self, data, sites):
        return self.run("log_density", data, sites)

    def constrain(self, data, sites):
        return self.run("constrain", data, sites)

    def unconstrain(self, data, sites):
        return self.run("unconstrain", data, sites)


def captured(density: Captured, given: Any, *more: Any) -> tuple[Captured, tuple]:
    """Return the density with its programs, and the arrays that they close over.

    Args:
        density: a density with `programs_to_capture(*more)`: {name: shapes of what `model_<name>` takes after the
            data}.
        given: the arguments that it is called with, a pytree of arrays.
        *more: the arguments of `programs_to_capture`.
    """
    given = jax.tree.map(shape_of, given)
    found, programs = ClosedOver(), []
    wanted = density.programs_to_capture(*more)
    if density.float_type == "float32" and "log_density" in wanted:
        wanted |= {"log_density_in_64_bits": wanted["log_density"]}
    for name, shapes in wanted.items():
        try:
            program, constants = density.program_of(name, given, *shapes)
        except Exception as error:
            raise density.explain_failure(name, error) from error
        programs.append((name, program, found.places(constants)))
    closed_over = tuple(map(kept, found.constants))
    return dataclasses.replace(density, programs=tuple(programs), closed_over=closed_over), closed_over


class ClosedOver:
    """The arrays that several programs close over, each once."""

    def __init__(self):
        self.constants: list = []

    def places(self, constants) -> tuple[int, ...]:
        before = len(self.constants)
        return tuple(self.place(constant, before) for constant in constants)

    def place(self, constant, before: int) -> int:
        """Return where a constant stands; within one program no two are merged, whatever they hold."""
        for i, other in enumerate(self.constants[:before]):
            if same(other, constant):
                return i
        self.constants.append(constant)
        return len(self.constants) - 1


def same(a, b) -> bool:
    """Return whether two constants hold the same values, as far as can be seen."""
    if a is b:
        return True
    if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
        return isinstance(a, jax.core.Tracer) != isinstance(b, jax.core.Tracer)
    if np.shape(a) != np.shape(b) or a.dtype != b.dtype:
        return False
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()
