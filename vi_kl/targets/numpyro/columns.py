"""Tables as arguments of a model: their columns are data.

A model sees a data frame (pandas, polars) or a Dataset (xarray) as `Columns`: `data["height"]`, `data.height` and
`data[["height", "age"]].values` are arrays that travel as data, whatever else the table holds. A model that asks more
of its table (`.groupby`, `.values` of a column, categories) gets the table itself, as a constant.
"""

import functools
import hashlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from vi_kl.core.errors import ModelError
from vi_kl.core.kept_programs import tracing
from vi_kl.targets.numpyro.inspection import image_of_zero

NUMERIC = "fiub"
looked_at: list[str] = []  # the columns without numbers that a model asks for while it is tried, for an error message


class Opaque:
    """A constant of the model that JAX cannot hold: a copy, hashed by its contents."""

    def __init__(self, value: Any):
        written = pickle.dumps(value)
        self.digest = hashlib.sha256(written).hexdigest()
        self.value = pickle.loads(written)  # later changes of the original do not reach it

    def __hash__(self):
        return hash(self.digest)

    def __eq__(self, other):
        return isinstance(other, Opaque) and self.digest == other.digest


def thawed(leaf):
    return leaf.value if isinstance(leaf, Opaque) else leaf


@jax.tree_util.register_pytree_with_keys_class
class Columns:
    """A table's columns: arrays where they are numbers, constants where they are not."""

    def __init__(self, columns: dict[str, Any], length: int):
        object.__setattr__(self, "_columns", columns)
        object.__setattr__(self, "_length", length)

    def __getitem__(self, name):
        if isinstance(name, list | tuple):
            return Columns({one: self.column(one) for one in name}, self._length)
        return self.column(name)

    def column(self, name):
        if name not in self._columns:
            raise ModelError(f"The data has no column {name!r}; its columns are {list(self._columns)}.")
        found = thawed(self._columns[name])
        if is_text(found):
            looked_at.append(name)
        return found

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._columns:
            raise AttributeError(f"the table's columns are {list(self._columns)}; it has no attribute {name!r}")
        return self.column(name)

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    @property
    def values(self):
        """The columns side by side, (rows, columns)."""
        return jnp.stack([jnp.asarray(self.column(name)) for name in self._columns], axis=-1)

    def to_numpy(self):
        return self.values

    @property
    def shape(self) -> tuple[int, int]:
        return self._length, len(self._columns)

    def keys(self):
        return self._columns.keys()

    def items(self):
        return [(name, self.column(name)) for name in self._columns]

    def __len__(self):
        return self._length

    def __iter__(self):
        return iter(self._columns)

    def __contains__(self, name):
        return name in self._columns

    def tree_flatten_with_keys(self):
        children, static = self.tree_flatten()
        return [
            (jax.tree_util.DictKey(name), child) for name, child in zip(self._columns, children, strict=True)
        ], static

    def tree_flatten(self):
        return list(self._columns.values()), (tuple(self._columns), self._length)

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(dict(zip(static[0], children, strict=True)), static[1])


def is_frame(x) -> bool:
    """Return whether an object is a table with named columns, as pandas, polars and xarray have them."""
    return hasattr(x, "data_vars") or (hasattr(x, "columns") and hasattr(x, "to_numpy") and hasattr(x, "__getitem__"))


def is_series(x) -> bool:
    return hasattr(x, "to_numpy") and not is_frame(x) and not isinstance(x, jax.Array)


def is_text(x) -> bool:
    """Return whether an object is an array of strings, categories, dates or anything else that is not a number."""
    return (
        isinstance(x, np.ndarray) and x.dtype.kind not in NUMERIC and x.dtype.kind != "c" and not is_extended(x.dtype)
    )


def is_extended(dtype) -> bool:
    """Return whether a type is one of JAX's own narrow floats and integers, for which NumPy has no kind."""
    return jnp.issubdtype(dtype, jnp.number) if dtype.kind == "V" else False


def column_array(series):
    """Return a column as an array of numbers, or of objects if it holds no numbers."""
    kind = getattr(getattr(series, "dtype", None), "kind", None)
    if hasattr(getattr(series, "dtype", None), "numpy_dtype") and kind in set(NUMERIC):  # pandas' nullable numbers
        missing = bool(series.isna().any())
        return series.to_numpy(dtype=float, na_value=np.nan) if missing else series.to_numpy(series.dtype.numpy_dtype)
    array = np.asarray(series.to_numpy() if hasattr(series, "to_numpy") else series)
    return Opaque(array) if is_text(array) else array


def columns_of(table) -> Columns:
    names = [*table.coords, *table.data_vars] if hasattr(table, "data_vars") else list(table.columns)
    columns = {name: column_array(table[name]) for name in names}
    return Columns(columns, 0 if not columns else len(thawed(next(iter(columns.values())))))


def numeric_matrix(table):
    matrix = table.to_numpy() if hasattr(table, "to_numpy") else None
    return matrix if isinstance(matrix, np.ndarray) and matrix.dtype.kind in NUMERIC else columns_of(table)


FORMS: tuple[Callable, ...] = (columns_of, numeric_matrix, Opaque)  # the forms in which a table is shown to the model


def arguments_that_run(model: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Return the model's arguments, with tables and what JAX cannot hold in the first form in which the model runs.

    Raises:
        ModelError: It runs in none; the message names the columns that hold no numbers.
    """
    args, kwargs = jax.tree.map(hashable, (args, kwargs), is_leaf=is_frame)
    leaves = jax.tree.leaves((args, kwargs), is_leaf=is_frame)
    if not any(is_frame(leaf) or is_series(leaf) or is_text(leaf) for leaf in leaves):
        return args, kwargs
    errors = []
    for form in FORMS:
        shown = jax.tree.map(functools.partial(show, form), (args, kwargs), is_leaf=is_frame)
        try:
            try_run(model, *shown)
        except Exception as error:  # the model's own, of any type
            errors.append(error if errors else explained_error(error, model, args, kwargs))
            continue
        return shown
    raise errors[0] from errors[-1]


def hashable(leaf):
    """Return options in a namespace, sets and the like as constants; what cannot be pickled stays as it is."""
    if isinstance(leaf, np.ndarray | jax.Array) or is_frame(leaf) or is_series(leaf):
        return leaf
    try:
        hash(leaf)
    except TypeError:
        try:
            return Opaque(leaf)
        except Exception:  # pickle's errors are of many types
            return leaf
    return leaf


def show(form: Callable, leaf):
    if is_frame(leaf):
        return form(leaf)
    if is_series(leaf):
        return Opaque(leaf) if form is Opaque else column_array(leaf)
    return Opaque(leaf) if is_text(leaf) else leaf


def try_run(model: Callable, args: tuple, kwargs: dict) -> None:
    """Run the model abstractly, its tables in this form."""
    leaves, structure = jax.tree.flatten((args, kwargs))
    arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray | jax.Array)]

    def run(arrays):
        given = iter(arrays)
        filled = [next(given) if isinstance(leaf, np.ndarray | jax.Array) else thawed(leaf) for leaf in leaves]
        args, kwargs = jax.tree.unflatten(structure, filled)
        seeded = numpyro.handlers.substitute(numpyro.handlers.seed(model, 0), substitute_fn=image_of_zero)
        trace = numpyro.handlers.trace(seeded).get_trace(*args, **kwargs)
        return [site["fn"].log_prob(site["value"]) for site in trace.values() if site["type"] == "sample"]

    with tracing:
        looked_at.clear()
        jax.eval_shape(run, arrays)


def arguments_by_name(model: Callable, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return {name: value} of a model's arguments, as far as it tells what they are called."""
    try:
        return dict(inspect.signature(model).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {"args": args, **kwargs}


def refuse_lists(error: Exception, model: Callable, args: tuple, kwargs: dict) -> None:
    """Refuse lists of numbers among the arguments of a model that raises an error: no arithmetic takes them.

    Raises:
        ModelError: there is one; the message names it.
    """
    for name, value in {} if isinstance(error, ModelError) else arguments_by_name(model, args, kwargs).items():
        if isinstance(value, list | tuple) and len(value) > 0 and all(map(is_plain_number, value)):
            raise ModelError(
                f"The model does not run, and its argument '{name}' is a {type(value).__name__} of numbers: pass "
                f"np.array({name}). The error was: {error}"
            ) from error


def is_plain_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic)


def explained_error(error: Exception, model: Callable, args: tuple, kwargs: dict) -> Exception:
    """Return the error of a model that does not run with its tables, in words."""
    if isinstance(error, ModelError):
        return error
    given = arguments_by_name(model, args, kwargs)
    named = [f"column '{name}'" for name in dict.fromkeys(looked_at)] + [
        f"argument '{path[0].key}{jax.tree_util.keystr(path[1:])}'"
        for path, leaf in jax.tree_util.tree_leaves_with_path(given, is_leaf=is_frame)
        if isinstance(show(columns_of, leaf), Opaque)
    ]
    if not named:
        return ModelError(f"The model does not run with its table of data: {type(error).__name__}: {error}")
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ModelError(
        f"The model computes with {' or '.join(named)}, which JAX cannot hold, for it is text, categories or dates: "
        f"encode it as numbers (for example pandas.factorize). The error was: {said}"
    )
