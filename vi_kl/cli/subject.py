"""The posterior that a command is about: of a model in a file with its data, of the catalogue, or of a saved fit."""

import dataclasses
import datetime
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vi_kl.cli.streams import Streams
from vi_kl.models.catalogue import make_target, named, similar

if TYPE_CHECKING:
    from vi_kl.algorithms import Fit
    from vi_kl.targets import Target
    from vi_kl.targets.file import Bound

SIMILAR = 0.6  # how alike the name of an axis and that of a column of its length must be


@dataclasses.dataclass(frozen=True)
class Subject:
    """A posterior, and where it is from.

    Attributes:
        name: the model, as it is called in what is shown.
        target: the posterior.
        made: the model, the data and the arguments, for the file of a fit, from which they are found again.
        bound: the model with its arguments; None for one of the catalogue.
    """

    name: str
    target: "Target"
    made: dict[str, Any]
    bound: "Bound | None"


def coords_of(sizes: Mapping[str, int], bound: "Bound") -> dict[str, list[str]]:
    """Return names for the entries of axes: labels of a column of text that are as many, and called alike.

    Args:
        sizes: {axis: its length}.
        bound: the model with its data.
    """
    labels = bound.labels if any(size > 1 for size in sizes.values()) else {}
    found = {}
    for axis, size in sizes.items():
        fitting = [name for name, each in labels.items() if len(each) == size]
        close = difflib.get_close_matches(axis, fitting, n=1, cutoff=SIMILAR)
        if close:
            found[axis] = labels[close[0]]
    return found


def is_model(written: str) -> bool:
    """Return whether what is written is a model, and not the file of a fit."""
    return named(written) is not None or written.endswith(".py") or ".py:" in written


def subject_of(
    model: str,
    data: Path | None,
    arguments: Sequence[str],
    said: Streams,
    *,
    known: Mapping[str, Sequence[str]] | None = None,
    dtype: str | None = None,
) -> Subject:
    """Return the posterior of a model and its data.

    Args:
        model: `file.py:function`, or a name of the catalogue.
        data: the file of data.
        arguments: `name=value` for arguments that are not the column of their name.
        said: the streams, for remarks.
        known: {column: labels} of codes that are to be used again.
        dtype: the floats in which the model is evaluated; None for float64, or for what the file says.

    Raises:
        FileError, NoSuchModel: the model or the data cannot be read; the message says why.
        ModelError: the model cannot be fitted as it is.
    """
    from vi_kl.targets.file import FileError, bind, from_anywhere, joint_labels, read_model, read_table

    in_catalogue = named(model)
    if in_catalogue is not None:
        if data is not None or arguments:
            raise FileError(
                f"{in_catalogue} is a model of the catalogue and has its own data: leave --data and --arg out."
            )
        target = make_target(in_catalogue)
        if dtype not in (None, target.dtype):
            raise FileError(
                f"{in_catalogue} is a model of the catalogue, which is evaluated in {target.dtype}: leave --dtype out."
            )
        return Subject(in_catalogue, target, {"model": in_catalogue}, None)
    if model.endswith(".stan"):
        raise FileError(
            f"{model} is a Stan program, which is fitted in Python: vi_kl.Target.from_stan({model!r}, data)."
        )
    if not is_model(model):
        close = similar(model)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise FileError(
            f"There is no model '{model}'.{hint} Write path/to/file.py:function, or a name that `vi-kl models` lists."
        )
    found = read_model(model)
    bound = bind(found, None if data is None else read_table(data), arguments, known=known)
    for remark in bound.remarks:
        said.remark(remark)
    with said.warnings_as_remarks():
        target = bound.target(dtype)
    together = joint_labels(bound, target) if bound.coded else {}
    if together:
        columns = " and ".join(together)
        said.remark(f"The codes of {columns} count the same entries of the model: one label is one code in all of them")
        bound = bind(found, bound.table, arguments, known={**(known or {}), **together})
        with said.warnings_as_remarks():
            target = bound.target(dtype)
    target = with_labels(target, bound)
    made = {
        "model": f"{found.path}:{found.name}",
        "data": None if data is None else str(data.expanduser().resolve()),
        "arguments": [from_anywhere(each) for each in arguments],
        "labels": bound.codes,
        "dtype": target.dtype,
    }
    return Subject(str(found), target, made, bound)


def with_labels(target: "Target", bound: "Bound") -> "Target":
    """Return the posterior with names for the entries of axes, where the data have them."""
    from vi_kl.targets.file import labels_of_axes

    if not hasattr(target.density, "with_coords"):
        return target
    counted, dims = labels_of_axes(bound, target), dict(target.density.dims)
    plates = {
        plate: size
        for site in target.sites
        for plate, size in zip(dims.get(site.name) or (), site.shape, strict=False)
        if plate and plate not in counted
    }
    return target.with_coords(counted | coords_of(plates, bound))


def made_now(subject: Subject, **more: Any) -> dict[str, Any]:
    """Return what a fit's file says of how it was made."""
    return {**subject.made, **more, "date": datetime.datetime.now().astimezone().isoformat(" ", "seconds")}


def open_fit(
    path: Path,
    model: str | None,
    data: Path | None,
    arguments: Sequence[str],
    said: Streams,
    dtype: str | None = None,
) -> "tuple[Fit, Subject]":
    """Return a saved fit, and its posterior, made again from the model and the data that it was fitted to.

    Args:
        path: the file of the fit.
        model: the model, if it has moved; None if it is where it was.
        data: the data, if they have moved; None if they are where they were.
        arguments: arguments to replace those that the file has; none of them for all that it has.
        said: the streams, for remarks.
        dtype: the floats in which the model is evaluated; None for those that the file names.

    Raises:
        FileError: the model or the data are not where they were; or the file does not say where.
        StorageError: the file is damaged, or the model or the data have changed.
    """
    import vi_kl
    from vi_kl.algorithms.storage import describe
    from vi_kl.targets.file import FileError

    made = recorded(describe(path).made, path)
    if model is None and made.get("model") is None:
        raise FileError(
            f"{path} was saved in Python, and does not say of which model it is: give --model file.py:function and "
            f"--data FILE."
        )
    if model is None and named(made["model"]) is None:
        file, _, function = made["model"].rpartition(":")
        place = still_there(file, path, "--model")
        said.remark(f"Running {place}, which {path} names as the file of its model.")
        model = f"{place}:{function}"
    if data is None and made.get("data"):
        data = still_there(made["data"], path, "--data")
    model, arguments = model or made["model"], arguments or made.get("arguments", ())
    subject = subject_of(model, data, arguments, said, known=made.get("labels"), dtype=dtype or made.get("dtype"))
    return vi_kl.load(path, subject.target), subject


def recorded(made: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return what a file says of how its fit was made, if it says it in the way that `subject_of` does.

    Raises:
        FileError: it says something else.
    """
    from vi_kl.targets.file import FileError

    kinds = {"model": str, "data": str | None, "arguments": list | tuple, "labels": dict, "dtype": str}
    for name, kind in kinds.items():
        if name in made and not isinstance(made[name], kind):
            raise FileError(f"{path} is damaged: it says that its {name} is {str(made[name])[:40]!r}.")
    return made


def still_there(recorded: str, fit: Path, option: str) -> Path:
    """Return a file where it was, or beside the fit.

    Raises:
        FileError: it is in neither place.
    """
    from vi_kl.targets.file import FileError

    for place in (Path(recorded), fit.expanduser().parent / Path(recorded).name):
        if place.is_file():
            return place
    raise FileError(
        f"{fit} was made of {recorded}, which is no longer there, nor beside it: {option} says where it is."
    )
