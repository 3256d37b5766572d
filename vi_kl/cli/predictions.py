"""The work of `vi-kl predict`: new arguments for a model, its draws, their summary, and files of them."""

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vi_kl.cli.subject import Subject, coords_of
from vi_kl.core.errors import ModelError
from vi_kl.core.files import replacing
from vi_kl.core.precision import in_float64
from vi_kl.draws.labels import Labels
from vi_kl.draws.model_runs import ModelRuns
from vi_kl.draws.summary import PROBABILITIES, Summary
from vi_kl.targets.file import Bound, FileError, bind, labels_of_axes, read_table

if TYPE_CHECKING:
    from vi_kl.algorithms import Fit

Drawn = dict[str, np.ndarray]


@in_float64  # data that are to be predicted are known by their numbers
def draw_and_summarise(
    found: "Fit", subject: Subject, data: Path | None, arg: Sequence[str], seed: int, options: dict[str, Any]
) -> tuple[Drawn, Labels, Summary]:
    """Return draws of new data, the names of their axes and entries, and their means and quantiles.

    Args:
        found: the fit.
        subject: its posterior.
        data: the file of new data; None for the data of the fit.
        arg: `name=value` for arguments of the new data.
        seed: the seed.
        options: further arguments of `fit.predict`.
    """
    runs = ModelRuns.of(found.target, "predict")
    bound = new_arguments(subject, runs, data, arg)
    values = drawn(found, subject, bound, seed, options)
    labels = labels_of(runs, subject, bound or subject.bound, values)
    return values, labels, summary_of(found, values, labels)


def new_arguments(subject: Subject, runs: ModelRuns, data: Path | None, arg: Sequence[str]) -> Bound | None:
    """Return the model with new arguments; None for those of the fit.

    What the command line does not say of an argument holds as it was for the fit. Data that are to be predicted may
    be lacking.
    """
    if data is None and not arg:
        return None
    if subject.bound is None:
        raise FileError(
            f"{subject.name} is a model of the catalogue, whose own data can be drawn again: leave --data and --arg "
            f"out."
        )
    given = {each.partition("=")[0] for each in arg}
    kept = [each for each in subject.made["arguments"] if each.partition("=")[0] not in given]
    table = subject.bound.table if data is None else read_table(data)
    to_predict = observed_arguments(subject.bound, runs)
    return bind(subject.bound.model, table, [*kept, *arg], known=subject.bound.codes, may_lack=to_predict)


def observed_arguments(bound: Bound, runs: ModelRuns) -> list[str]:
    """Return the names of the arguments that are observed: those whose values are the data of a site."""
    data = list(runs.observed().values())
    return [name for name, value in bound.values.items() if any(is_same(value, each) for each in data)]


def is_same(value: Any, data: np.ndarray) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "biuf"
        and value.shape == data.shape
        and np.array_equal(value, data, equal_nan=True)
    )


def drawn(found: "Fit", subject: Subject, bound: Bound | None, seed: int, options: dict[str, Any]) -> Drawn:
    """Return the draws of each site, {site: (draws, ...)}."""
    if bound is None:
        return found.predict(seed, **options)
    with bound.model.speaking_for_itself():
        try:
            return found.predict(seed, *bound.args, **options, **bound.kwargs)
        except ModelError:
            filled = with_placeholders(bound, subject)
            if filled is None:
                raise
            return found.predict(seed, *filled.args, **options, **filled.kwargs)


def with_placeholders(bound: Bound, subject: Subject) -> Bound | None:
    """Return arguments with zeros, one for each new row, for the data that are to be predicted.

    A model that reads their number of rows does not run without them; their values make no difference. None if nothing
    is to be predicted, or the number of rows is not known.
    """
    rows = None if bound.table is None else bound.table.rows
    if rows is None or not bound.lacked or subject.bound is None:
        return None
    old = subject.bound.values
    zeros = {name: np.zeros((rows, *old[name].shape[1:]), old[name].dtype) for name in bound.lacked}
    return dataclasses.replace(bound, values={**bound.values, **zeros})


def labels_of(runs: ModelRuns, subject: Subject, bound: Bound | None, values: Drawn) -> Labels:
    """Return the names of the axes and entries of what was drawn."""
    shapes = {name: x.shape[1:] for name, x in values.items()}
    plates = {name: runs.sites[name].dims for name in shapes if name in runs.sites}
    plates = {name: axes for name, axes in plates.items() if len(axes) == len(shapes[name])}
    sizes = {axis: size for name, axes in plates.items() for axis, size in zip(axes, shapes[name], strict=True) if axis}
    alike = {} if bound is None else coords_of(sizes, bound)
    # codes keep their labels; rows have the names that the new data give them
    counted = {} if subject.bound is None else labels_of_axes(subject.bound, subject.target)
    return Labels.of(shapes, plates, coords=alike, of_the_source=counted)


def summary_of(found: "Fit", values: Drawn, labels: Labels) -> Summary:
    """Return means, sds and quantiles of what was drawn."""
    rows = [name for site, x in values.items() for name in labels.elements(site, x.shape[1:])]
    flat = np.concatenate([np.asarray(x, float).reshape(len(x), -1) for x in values.values()], axis=1)
    sd = flat.std(axis=0, ddof=1) if len(flat) > 1 else np.zeros(flat.shape[1])
    return Summary(
        source=f"posterior predictive draws of {found.name}: {len(flat):,} draws",
        names=tuple(rows),
        mean=flat.mean(axis=0),
        sd=sd,
        probabilities=PROBABILITIES,
        quantiles=np.quantile(flat, PROBABILITIES, axis=0).T,
        error=sd / np.sqrt(len(flat)),
    )


# Files of draws ------------------------------------------------------------------------------------------------------


def write_csv(out: Path, values: Drawn, labels: Labels) -> None:
    """Write one row for each draw, and one column for each entry of each site."""
    import pandas as pd  # half a second that others need not wait for

    columns = [name for site, x in values.items() for name in labels.elements(site, x.shape[1:])]
    frames = [pd.DataFrame(np.asarray(x).reshape(len(x), -1)) for x in values.values()]
    table = pd.concat(frames, axis=1)
    table.columns = columns
    with replacing(out) as file:
        table.to_csv(file, index_label="draw")


def write_npz(out: Path, values: Drawn, labels: Labels) -> None:
    """Write each site as an array whose first axis is the draws."""
    with replacing(out) as file, zipfile.ZipFile(file, "w") as archive:  # np.savez has arguments of its own names
        for name, x in values.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(x), allow_pickle=False)


def write_netcdf(out: Path, values: Drawn, labels: Labels) -> None:
    """Write a Dataset whose axes are called as the plates are."""
    import xarray

    dataset = xarray.Dataset(
        {name: (("draw", *labels.dims[name]), np.asarray(x)) for name, x in values.items()},
        coords={axis: [str(entry) for entry in entries] for axis, entries in labels.coords.items()},
    )
    with replacing(out) as file:
        file.write(dataset.to_netcdf())


WRITERS = {".csv": write_csv, ".npz": write_npz, ".nc": write_netcdf}
