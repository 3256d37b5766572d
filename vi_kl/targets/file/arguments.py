"""The arguments of a model, by name: columns of the data, columns of other files, numbers.

What is asked for is written `name=value`, where the value is a number, `true`, `false` or `none`; `other.npz:key`, a
column of another file; `@`, the whole table; or the name of a column. An argument of which nothing is said gets the
column of its own name.
"""

import dataclasses
import inspect
import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.core.errors import ModelError
from vi_kl.core.suggestions import guess
from vi_kl.targets.file.errors import FileError, listed
from vi_kl.targets.file.model import ModelFile, is_posterior
from vi_kl.targets.file.table import FORMATS, Table, read_table, refuse_no_labels, remark
from vi_kl.targets.target import Target

COUNTS = (dist.BinomialProbs, dist.BinomialLogits, dist.BetaBinomial)  # beside those without a greatest number
WORDS = {"true": True, "false": False, "none": None}
WHOLE = "@"
NO_MODEL = (
    " {0} calls no numpyro.sample. If it is a log density, let the file make a target of it, "
    "target = vi_kl.Target.from_log_density({0}, ...), or write a function of the data that returns one."
)
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class Bound:
    """A model with all its arguments.

    Attributes:
        model: the model.
        values: {argument: its value}.
        lacked: the arguments that are None because the data lack them, as they may.
        codes: {column: the labels of its codes} of the columns of text among the arguments.
        table: the data; None if there are none.
        remarks: what a user should know, a sentence each.
        sources: the (table, column) that each array is from.
        coded: the (table, column, array) of the arguments that are codes of text.
        by_default: the arguments that are None by default, since the data have no column of their name.
    """

    model: ModelFile
    values: dict[str, Any]
    lacked: tuple[str, ...]
    codes: dict[str, list[str]]
    table: Table | None
    remarks: tuple[str, ...]
    sources: tuple[tuple[Table, str], ...]
    coded: tuple[tuple[Table, str, Any], ...] = ()
    by_default: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, list[str]]:
        """{column: labels} of what entries can be called by: codes among the arguments, and rows with names.

        Another column of text says nothing of the order in which a model counts its groups, and neither do names of
        rows where an argument puts the rows into another order.
        """
        reordered = any(is_reordering(value) for value in self.values.values())
        rows = {} if self.table is None or reordered else self.table.names_of_rows()
        return {**rows, **self.codes}

    @property
    def args(self) -> tuple:
        """The arguments by place."""
        return tuple(value for name, value in self.values.items() if self.model.parameters[name].kind in BY_PLACE)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments that can only be given by name."""
        return {name: x for name, x in self.values.items() if self.model.parameters[name].kind not in BY_PLACE}

    def target(self, dtype: str | None = None) -> Target:
        """Return the posterior.

        Args:
            dtype: "float32" or "float64", in which the model is evaluated; None for what the file says, else float64.

        Raises:
            ModelError: the model cannot be fitted as it is, or its data lack values; the message says which.
            FileError: the model's code raises an error, or makes a posterior that is evaluated in other floats; or
                what it should observe is not among the data, or is text.
        """
        with self.model.speaking_for_itself():
            try:
                self.refuse_what_is_observed()
                made = self.model.posterior(self.args, self.kwargs)
                if made is None:
                    return Target.from_numpyro(self.model.function, *self.args, dtype=dtype or "float64", **self.kwargs)
            except ModelError as error:
                gaps = " ".join(filter(None, (table.missing([name]) for table, name in self.sources)))
                if not gaps or "NaN" not in str(error):
                    raise
                mend = "Leave those rows out, or give the model a mask (numpyro.handlers.mask)."
                raise ModelError(f"{error} {gaps} {mend}") from error
        if dtype not in (None, made.dtype):
            raise FileError(
                f"{self.model} makes its posterior itself, in {made.dtype}, and --dtype {dtype} cannot change that: "
                f"write dtype='{dtype}' where the file calls Target.from_numpyro or Target.from_log_density, or leave "
                f"--dtype out."
            )
        return made

    def refuse_what_is_observed(self) -> None:
        """Refuse a model without observations whose data lack a column, and text as observations that are no classes.

        Raises:
            FileError: the message names the argument, or the site and the column.
        """
        if not (self.coded or self.by_default):
            return
        observed = self.observed_sites()
        if observed is None:
            return
        if self.by_default and self.table is not None and not observed:
            raise FileError(nothing_observed(self.model, self.table, self.by_default))
        for site, (table, column, values) in itertools.product(observed, self.coded):
            what = kind_of_number(site["fn"])
            if site["value"] is values and what:
                raise FileError(
                    f"Observed site '{site['name']}' of {self.model} is {what}, and the {table.about(column)} is text. "
                    f"Name a column of numbers: --arg ARGUMENT=COLUMN."
                )

    def observed_sites(self) -> list[dict[str, Any]] | None:
        """Return the observed sites of the model; None if it is no NumPyro model, or cannot be run to see them."""
        found: list[dict[str, Any]] = []

        def look() -> None:
            run = numpyro.handlers.trace(numpyro.handlers.seed(self.model.function, rng_seed=0))
            sites = run.get_trace(*self.args, **self.kwargs).values()
            found.extend(site for site in sites if site["type"] == "sample" and site["is_observed"])

        if not self.model.is_numpyro:
            return None
        try:
            jax.eval_shape(look)
        except Exception:  # what is wrong with the model is said where its target is made
            return None
        return found


def bind(
    model: ModelFile,
    table: Table | None,
    written: Sequence[str] = (),
    *,
    known: Mapping[str, Sequence[str]] | None = None,
    may_lack: Collection[str] = (),
) -> Bound:
    """Find the value of each argument of a model.

    Args:
        model: the model.
        table: the data; None if there are none.
        written: `name=value` for arguments that are not the column of their name.
        known: {column: labels} of codes that are to be used again.
        may_lack: arguments that are None where nothing is given for them: data to be predicted.

    Raises:
        FileError: an argument has no value, or none that can be read; the message says which, and what there is.
    """
    if table is not None and is_posterior(model.function):
        raise FileError(f"{model} is a posterior that the file makes, and has its own data: leave --data out.")
    asked = assignments(model, written)
    reader = Reader(table, known or {})
    values: dict[str, Any] = {}
    lacked: list[str] = []
    by_default: list[str] = []
    for name, parameter in model.parameters.items():
        if name in may_lack and is_absent(asked.get(name, name), table):
            values[name] = None
            lacked.append(name)
        elif name in asked:
            values[name] = reader.value(name, asked[name])
        elif table is not None and name in table.raw:
            values[name] = reader.column(table, name)
        elif parameter.default is not parameter.empty:
            values[name] = parameter.default
            if table is not None and parameter.default is None:
                by_default.append(name)
                reader.remarks.append(f"{table.path.name} has no column '{name}', and so {name} is None")
        else:
            raise FileError(lacking(model, table, name) + ("" if model.is_numpyro else NO_MODEL.format(model.name)))
    return Bound(
        model,
        values,
        tuple(lacked),
        reader.codes,
        table,
        tuple(reader.remarks),
        tuple(reader.sources),
        tuple(reader.coded),
        tuple(by_default),
    )


def kind_of_number(fn: Any) -> str:
    """Return in words what the codes of text are not, where a distribution is of such numbers; "" for classes."""
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    if isinstance(fn, dist.OrderedLogistic):
        return "of ordered classes"  # and codes are in the order in which labels appear
    if not fn.support.is_discrete:
        return "a continuous number"
    counts = isinstance(fn, COUNTS) or isinstance(fn.support, type(constraints.nonnegative_integer))
    return "a count" if counts else ""


def nothing_observed(model: ModelFile, table: Table, names: Sequence[str]) -> str:
    """Say that a model has no observations, and which of its arguments may be the ones that it lacks."""
    first, hint = names[0], guess(names[0], table.raw)
    is_none = "is None" if len(names) == 1 else "are None"
    return (
        f"No site of {model} is observed, so that its posterior is the prior: {listed(names)} {is_none}, for "
        f"{table.path.name} has no such column.{hint} Its columns are {listed(table.raw)}. --arg {first}=COLUMN takes "
        f"another one, --arg {first}=none means it."
    )


def is_reordering(value: Any) -> bool:
    """Return whether an argument is a list of all places, counted from 0 or 1, in another order."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.ndim != 1 or len(value) < 2:
        return False
    in_order = np.sort(value)
    places = np.arange(len(value)) + in_order[0]
    return in_order[0] in (0, 1) and np.array_equal(in_order, places) and not np.array_equal(value, places)


def is_absent(written: str, table: Table | None) -> bool:
    """Return whether what is written for an argument can only be a column, and the data have none of that name."""
    is_column = written.isidentifier() and written.lower() not in WORDS
    return is_column and (table is None or written not in table.raw)


def assignments(model: ModelFile, written: Sequence[str]) -> dict[str, str]:
    """Return {argument: value as it is written}.

    Raises:
        FileError: one has no equals sign, or names what is no argument of the model.
    """
    found = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not (equals and name and value):
            raise FileError(f"--arg {each} says nothing: write name=column, name=3.5 or name=file.npz:key.")
        if name not in model.parameters:
            hint = f"{guess(name, model.parameters)} It has {listed(model.parameters)}."
            raise FileError(f"--arg {each}: {model} has no argument '{name}'.{hint}")
        found[name] = value
    return found


def lacking(model: ModelFile, table: Table | None, name: str) -> str:
    """Say that an argument has no value, and what could be its value."""
    if table is None:
        each = listed(model.parameters)
        return f"{model} needs '{name}', and there are no data: --data FILE, with a column for each of {each}."
    return (
        f"{model} needs '{name}', and {table.path.name} has no such column.{guess(name, table.raw)} Its columns are "
        f"{listed(table.raw)}. --arg {name}=COLUMN takes another one, --arg {name}=@ all of them, --arg {name}=3.5 a "
        f"number, --arg {name}=none nothing."
    )


def column_elsewhere(written: str) -> tuple[Path, str] | None:
    """Return the file and the column that `other.npz:key` names; None if it is something else."""
    path, colon, key = written.rpartition(":")
    return (Path(path).expanduser(), key) if colon and Path(path).suffix.lower() in FORMATS else None


def from_anywhere(written: str) -> str:
    """Return `name=value` as it holds in any folder: with the whole path of another file."""
    name, _, value = written.partition("=")
    other = column_elsewhere(value)
    return written if other is None else f"{name}={other[0].resolve()}:{other[1]}"


class Reader:
    """What reads the values of arguments, and notes where they are from.

    Args:
        table: the data.
        known: {column: labels} of codes that are to be used again.
    """

    def __init__(self, table: Table | None, known: Mapping[str, Sequence[str]]):
        self.table, self.known = table, known
        self.others: dict[Path, Table] = {}
        self.codes: dict[str, list[str]] = {}
        self.remarks: list[str] = []
        self.sources: list[tuple[Table, str]] = []
        self.coded: list[tuple[Table, str, Any]] = []

    def value(self, name: str, written: str) -> Any:
        """Return the value of an argument as it is written."""
        if written.lower() in WORDS:
            return WORDS[written.lower()]
        for number in (int, float):
            try:
                return number(written)
            except ValueError:
                continue
        if written == WHOLE and self.table is not None:
            return self.whole(self.table)
        other = column_elsewhere(written)
        if other is not None:
            place, key = other
            self.others.setdefault(place, read_table(place))
            return self.column(self.others[place], key)
        if self.table is None:
            raise FileError(f"--arg {name}={written} is a column, and there are no data: --data FILE.")
        return self.column(self.table, written)

    def column(self, table: Table, name: str) -> Any:
        """Return a column as numbers."""
        values, labels = table.column(name, self.known.get(name))
        if labels is not None:
            refuse_no_labels(labels, table.about(name))
            self.codes[name] = labels
            self.coded.append((table, name, values))
        if labels is not None and name not in self.known:
            self.remarks.append(remark(table.about(name), labels))
        self.sources.append((table, name))
        return values

    def whole(self, table: Table) -> Any:
        """Return all columns that have a form as numbers: a data frame, or a dictionary where lengths differ."""
        columns = {}
        for name in table.raw:
            try:
                columns[name] = self.column(table, name)
            except FileError as error:
                self.remarks.append(f"{error} It is left out.")
        if not table.is_frame:
            return columns
        import pandas as pd

        return pd.DataFrame(columns)
