"""Stan programs as a source: Stan's own log density and transforms, called outside JAX with their gradient.

The values of the program's data are the data of the target, each a leaf by its name, and go to Stan at each call: so
new data of the same shapes need no new program, and a model is made of them once. Where Stan rejects a point, the log
density is -inf. Derivatives of the gradient are not to be had; what needs them says so, or takes differences.

httpstan is asked for Stan when a target is made, and not before.
"""

import collections
import dataclasses
import hashlib
import json
import math
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.annotations import ProgressLike
from vi_kl.core.errors import ModelError
from vi_kl.core.precision import in_float64
from vi_kl.targets.captured import CapturedModel, captured
from vi_kl.targets.density import Density
from vi_kl.targets.sites import Site, constrained_shapes, unconstrained_shapes
from vi_kl.targets.stan.library import Library, StanModel, library_of

PREDICT = (
    "Write what is to be predicted in the program's generated quantities: fit.sample(key, n) computes them for each "
    "draw. Or make the target from a NumPyro model (Target.from_numpyro)."
)
KEPT = 8  # models of one program that are kept with their data
Columns = tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]  # name, shape, the places of the entries in order


@dataclasses.dataclass(frozen=True, eq=False)
class StanDensity(CapturedModel, Density):
    """A Stan program without its data.

    Attributes:
        library: the compiled program.
        names: the data that the program declares, in the order of the target's data.
        variables: the parameters.
        columns: the places of each parameter's entries in Stan's list of all entries.
        computed_columns: likewise for transformed parameters and generated quantities.
    """

    library: Library
    names: tuple[str, ...]
    variables: tuple[Site, ...]
    columns: Columns
    computed_columns: Columns

    source: ClassVar[str] = "a Stan program"
    live: ClassVar[tuple[str, ...]] = ("library", "columns", "computed_columns")
    mends: ClassVar[Mapping[str, str]] = {"forward": PREDICT}

    @property
    def capabilities(self):
        return frozenset({"deterministic"} if self.computed_columns else ())

    @property
    def deterministic(self) -> tuple[str, ...]:
        """Transformed parameters and generated quantities."""
        return tuple(name for name, *_ in self.computed_columns)

    @property
    def num_arguments(self) -> int:
        return len(self.names)

    @property
    def dim(self) -> int:
        """The length of z."""
        return sum(site.size for site in self.variables)

    def computed(self, data, sites, key):
        return self.run("deterministic", data, sites, key)

    def model_log_density(self, data, sites):
        function = differentiable(self.outside_jax("log_density", data, (), (self.dim,)), len(data))
        # whole numbers have no cotangents, and come back in library.py
        return function(self.z_of(sites), *(jnp.asarray(x, jnp.promote_types(x.dtype, float)) for x in data))

    def model_constrain(self, data, sites):
        length = sum(len(places) for *_, places in self.columns)
        values, log_det = self.outside_jax("constrain", data, (length,), ())(self.z_of(sites), *data)
        return taken(values, self.columns), log_det

    def model_unconstrain(self, data, sites):
        places = np.concatenate([np.array(places) for *_, places in self.columns])
        flat = jnp.concatenate([jnp.ravel(jnp.asarray(sites[site.name], float)) for site in self.variables])
        (z,) = self.outside_jax("unconstrain", data, (self.dim,))(flat[np.argsort(places)], *data)
        ends = np.cumsum([site.size for site in self.variables])[:-1]
        parts = jnp.split(z, ends)
        return {s.name: x.reshape(s.unconstrained_shape) for s, x in zip(self.variables, parts, strict=True)}

    def model_deterministic(self, data, sites, key):
        length = sum(len(places) for *_, places in (*self.columns, *self.computed_columns))
        seed = jnp.bitwise_xor(key[0], key[-1]).astype(float)  # exact: 32 bits
        given = jnp.concatenate([self.z_of(sites), seed[None]])
        (values,) = self.outside_jax("computed", data, (length,))(given, *data)
        return taken(values, self.computed_columns)

    def programs_to_capture(self) -> dict[str, tuple]:
        """Return what each method `model_<name>` takes after the data, {name: shapes}."""
        z, values = unconstrained_shapes(self.variables), constrained_shapes(self.variables)
        programs = {"log_density": (z,), "constrain": (z,), "unconstrain": (values,)}
        key = jax.ShapeDtypeStruct((2,), np.uint32)
        return programs | ({"deterministic": (z, key)} if self.computed_columns else {})

    def z_of(self, sites) -> jax.Array:
        """Return Stan's own z of the sites, which stand in its order."""
        return jnp.concatenate([jnp.ravel(sites[site.name]) for site in self.variables])

    def outside_jax(self, kind: str, data, *shapes: tuple[int, ...]) -> Callable:
        """Return a function of JAX that calls Stan with a vector and the data, and gets floats of these shapes."""
        call = Call.of(self.library, kind, self.names, tuple(map(np.shape, data)), shapes)
        results = [jax.ShapeDtypeStruct(shape, float) for shape in shapes]
        return lambda vector, *data: jax.pure_callback(call, results, vector, *data, vmap_method="expand_dims")

    @in_float64
    def explain(self, data, sites):
        given, _ = self.split(data)
        model = model_with(self.library, self.names, [np.asarray(x) for x in given])
        value, _, said = model.log_density(np.asarray(self.z_of(sites))[None])
        if said:
            return f"Stan rejects that point: {said}"
        what = "log density is" if not np.isfinite(value[0]) else "gradient has entries that are"
        return f"Stan's {what} not finite there, and it says nothing more: check '{self}' at a point of your choice."

    def __str__(self):
        return self.library.name


def differentiable(call: Callable, num_data: int) -> Callable:
    """Return a function of z and data that is differentiable by z, of one that returns its value and its gradient."""
    without = (None,) * num_data

    @jax.custom_vjp
    def function(z, *data):
        return call(z, *data)[0]

    def forward(z, *data):
        value, gradient = call(z, *data)
        return value, gradient

    function.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient, *without))
    return function


def taken(values: jax.Array, columns: Columns) -> dict[str, jax.Array]:
    """Return {name: array} of the entries in Stan's order."""
    return {name: values[np.array(places, int)].reshape(shape) for name, shape, places in columns}


DensityOnData = tuple[StanDensity, tuple, tuple[Site, ...]]  # a density, its data and its sites


def density_from_stan(program: Any, data: Any, progress: ProgressLike = None) -> DensityOnData:
    """Return the density of a program's parameters, its data, and its sites: what a Target is made of.

    Raises:
        MissingExtraError: httpstan or a C++ compiler is missing.
        ModelError: the program or its data are wrong, or it has no parameters; the message says what.
        FileNotFoundError: a file is missing.
    """
    with file_of(program) as file:
        library = library_of(file, progress)
    return in_float64(density_of)(library, data_for(library, given_data(data)))


def density_of(library: Library, data: Mapping[str, np.ndarray]) -> DensityOnData:
    """Return what a Target of a compiled program is made of (call it with 64-bit types switched on)."""
    names = tuple(data)
    model = model_with(library, names, list(data.values()))
    if model.dim == 0:
        raise ModelError(f"The program '{library.name}' has no parameters: there is nothing to fit.")
    shapes, every = model.shapes(computed=False), model.shapes(computed=True)
    columns = columns_of(model.names(constrained=True), shapes)
    more = columns_of(model.names(constrained=True, computed=True), every)[len(shapes) :]
    sizes = collections.Counter(name.partition(".")[0] for name in model.names(constrained=False))
    sites = tuple(site_of(name, shape, sizes[name]) for name, shape in shapes.items())
    density = StanDensity(library, names, sites, columns, more)
    density, closed_over = captured(density, tuple(data.values()))
    return density, (*data.values(), *closed_over), sites


def site_of(name: str, shape: tuple[int, ...], size: int) -> Site:
    """Return a parameter as a site whose unconstrained entries stand in Stan's order."""
    alike = len(shape) <= 1 and math.prod(shape) == size
    return Site(name, shape, shape if alike else (size,))


def columns_of(entries: list[str], shapes: Mapping[str, tuple[int, ...]]) -> Columns:
    """Return where the entries of each quantity stand, in the order of a C array: "m.2.1" is m[1, 0].

    Raises:
        ModelError: an entry is no real number: part of a tuple, or of a complex number.
    """
    places: dict[str, dict[tuple[int, ...], int]] = {name: {} for name in shapes}
    for i, entry in enumerate(entries):
        name, *numbers = entry.split(".")
        if name not in places or not all(number.isdigit() for number in numbers):
            raise ModelError(f"'{entry}' is part of a tuple or of a complex number: write it as real numbers.")
        places[name][tuple(int(number) - 1 for number in numbers)] = i
    return tuple((name, shape, tuple(places[name][i] for i in np.ndindex(shape))) for name, shape in shapes.items())


# The program and its data ----------------------------------------------------------------------------------------


def file_of(program: Any):
    """Return a context that gives the file of a program, which is its path or its text.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is neither.
    """
    if isinstance(program, str) and "{" in program:
        return Written(program)
    if not isinstance(program, str | os.PathLike):
        raise TypeError(f"Target.from_stan takes a file, or the text of a program, and got a {type(program).__name__}.")
    if not Path(program).is_file():
        raise FileNotFoundError(f"There is no file {program} with a Stan program.")
    return Written(None, Path(program))


class Written:
    """A context in which the text of a program is in a file."""

    def __init__(self, text: str | None, path: Path | None = None):
        self.text, self.path = text, path

    def __enter__(self) -> Path:
        if self.path is not None:
            return self.path
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name, "program.stan")
        file.write_text(self.text)
        return file

    def __exit__(self, *_):
        if self.path is None:
            self.folder.cleanup()


def given_data(data: Any) -> Mapping[str, Any]:
    """Return data as they are given: a mapping, the path of a file of JSON, or None for none.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: the file is no JSON object.
        TypeError: they are something else.
    """
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return data
    if not isinstance(data, str | os.PathLike):
        raise TypeError(f"The data of a Stan program are a mapping or a file of JSON, and not a {type(data).__name__}.")
    if not Path(data).is_file():
        raise FileNotFoundError(f"There is no file {data} with the data.")
    try:
        found = json.loads(Path(data).read_text())
    except ValueError as error:
        raise ModelError(f"{data} is no JSON: {error}.") from None
    if not isinstance(found, Mapping):
        raise ModelError(f"{data} holds a {type(found).__name__}, and not an object of named data.")
    return found


def data_for(library: Library, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the data that the program declares, as arrays; what it does not declare is left out.

    Raises:
        ModelError: one is missing, or has another type or number of dimensions than declared.
    """
    missing = [name for name in library.inputs if name not in given]
    if missing:
        raise ModelError(f"The program '{library.name}' declares data that are not given: {', '.join(missing)}.")
    return {name: array_for(name, given[name], declared) for name, declared in sorted(library.inputs.items())}


def array_for(name: str, value: Any, declared: Mapping[str, Any]) -> np.ndarray:
    """Return one of the data as an array of the declared type."""
    kind, dimensions = declared["type"], declared["dimensions"]
    if kind not in ("int", "real"):
        raise ModelError(f"Data '{name}' are a tuple or complex, which is not supported: declare them as real numbers.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ModelError(f"Data '{name}' have rows of different lengths.") from None
    if array.dtype.kind not in "biuf":
        raise ModelError(f"Data '{name}' are no numbers.")
    if array.ndim != dimensions and array.size:
        raise ModelError(f"Data '{name}' are declared with {dimensions} dimensions, and have shape {array.shape}.")
    if kind == "real":
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    if (array != np.floor(array)).any():
        raise ModelError(f"Data '{name}' are declared as int, and have values such as {array[array % 1 != 0][0]:g}.")
    return array.astype(np.int64)


# Calls -----------------------------------------------------------------------------------------------------------


lock = threading.Lock()
models: collections.OrderedDict[tuple[int, bytes], StanModel] = collections.OrderedDict()


def model_with(library: Library, names: tuple[str, ...], arrays: list[np.ndarray]) -> StanModel:
    """Return the model of a program with these data, which is kept for the next call."""
    arrays = [library.as_declared(name, array).reshape(array.shape) for name, array in zip(names, arrays, strict=True)]
    digest = hashlib.blake2b()
    for array in arrays:
        digest.update(repr(array.shape).encode() + array.tobytes())
    key = id(library), digest.digest()
    with lock:
        if key not in models:
            models[key] = library.made(dict(zip(names, arrays, strict=True)))
            if len(models) > KEPT:
                models.popitem(last=False)
        models.move_to_end(key)
        return models[key]


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A function that JAX calls: of a vector, or of many, and the data. Compiled code knows it as the object it is.

    Attributes:
        library: the program.
        kind: what is computed: "log_density", "constrain", "unconstrain" or "computed".
        names: the names of the data.
        data_shapes: their shapes.
        shapes: the shapes of the results.
    """

    library: Library
    kind: str
    names: tuple[str, ...]
    data_shapes: tuple[tuple[int, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    made: ClassVar[dict[tuple, "Call"]] = {}

    @classmethod
    def of(cls, *fields) -> "Call":
        """Return the one call with these fields."""
        with lock:
            return cls.made.setdefault(fields, cls(*fields))

    def __call__(self, vector, *data) -> list[np.ndarray]:
        """Return the results for vectors (..., length) and data, either with leading axes."""
        vector = np.asarray(vector)
        arrays = [np.asarray(x) for x in data]
        leads = [x.shape[: x.ndim - len(s)] for x, s in zip(arrays, self.data_shapes, strict=True)]
        batch = np.broadcast_shapes(vector.shape[:-1], *leads)
        if all(math.prod(lead) == 1 for lead in leads):
            own = [x.reshape(s) for x, s in zip(arrays, self.data_shapes, strict=True)]
            rows = vector.reshape(-1, vector.shape[-1])
            found = self.result(model_with(self.library, self.names, own), rows)
            found = [x.reshape((*vector.shape[:-1], *s)) for x, s in zip(found, self.shapes, strict=True)]
            return [np.broadcast_to(x, (*batch, *s)) for x, s in zip(found, self.shapes, strict=True)]
        whole = [np.broadcast_to(x, (*batch, *s)) for x, s in zip(arrays, self.data_shapes, strict=True)]
        vector = np.broadcast_to(vector, (*batch, vector.shape[-1]))
        each = [self(vector[i], *(x[i] for x in whole)) for i in np.ndindex(batch)]
        return [np.stack(x).reshape((*batch, *s)) for x, s in zip(zip(*each, strict=True), self.shapes, strict=True)]

    def result(self, model: StanModel, rows: np.ndarray) -> list[np.ndarray]:
        """Return the results for vectors (n, length) and one model."""
        if self.kind == "log_density":
            return list(model.log_density(rows)[:2])
        if self.kind == "unconstrain":
            return [model.unconstrain(rows)]
        if self.kind == "computed":
            return [model.constrain(rows[:, :-1], rows[:, -1], *self.shapes[0], computed=True)]
        values = model.constrain(rows, np.zeros(len(rows)), *self.shapes[0], computed=False)
        whole, bare = (model.log_density(rows, jacobian=jacobian)[0] for jacobian in (True, False))
        with np.errstate(invalid="ignore"):  # of two that are infinite
            return [values, whole - bare]
