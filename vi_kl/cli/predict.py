"""`vi-kl predict`: draws of data from a saved fit."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from vi_kl.cli.divergence.spinner import delayed_spinner
from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.options import Arg, AsJson, Data, Debug, OtherModel, Quiet, Seed
from vi_kl.cli.streams import Streams, streams
from vi_kl.core.files import require_writable_file

if TYPE_CHECKING:
    from vi_kl.algorithms import Fit
    from vi_kl.cli.subject import Subject
    from vi_kl.draws import Summary
    from vi_kl.draws.labels import Labels
    from vi_kl.draws.model_runs import ModelRuns
    from vi_kl.targets.file import Bound

Drawn = dict[str, np.ndarray]
PROBABILITIES = (0.05, 0.5, 0.95)


def predict(
    fit: Annotated[Path, typer.Argument(help="The file of a fit, as vi-kl fit --out writes it.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="New data. Without them, the data of the fit are drawn again.", show_default=False
        ),
    ] = None,
    arg: Arg = None,
    sites: Annotated[
        str | None, typer.Option(help="The sites to draw, with commas between them.", show_default=False)
    ] = None,
    redraw: Annotated[
        str | None,
        typer.Option(help="Latent sites to draw anew, such as effects of groups that are new.", show_default=False),
    ] = None,
    draws: Annotated[int, typer.Option(help="The number of draws.", min=1)] = 1_000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="A file for all draws: csv, npz or nc.", show_default=False)] = None,
    model: OtherModel = None,
    fitted_data: Data = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw from the posterior predictive distribution of a saved fit, for new data or for those of the fit.

    A column of what is to be predicted is not needed. The model's file of Python is run again, and the data that it was
    fitted to are read again; --model and --fitted-data say where they are now.

    Example: vi-kl predict schools.vikl --data new_schools.csv --sites y --out new.csv
    """
    with streams(as_json=as_json, quiet=quiet, debug=debug) as said:
        if out is not None:
            check_out(out)
        when_interrupted(lambda: "The draws were not complete.")
        with delayed_spinner(said.errors, "Importing JAX and NumPyro"):
            from vi_kl.cli.subject import open_fit
            from vi_kl.draws.model_runs import ModelRuns

        # arguments on the command line are those of the new data; the fit's own are in its file
        found, subject = open_fit(fit, model, fitted_data, (), said)
        options = {"n": draws, "sites": names(sites), "redraw": names(redraw) or (), "progress": said.progress}
        runs = ModelRuns.of(found.target, "predict")
        bound = new_arguments(subject, runs, data, arg or [])
        values = drawn(found, subject, bound, seed, options)
        labels = labels_of(runs, bound or subject.bound, values)
        table = summary_of(found, values, labels)
        if out is not None:
            WRITERS[out.suffix.lower()](out, values, labels)
        show(table, out, said)
        said.write({"fit": str(fit), "draws": draws, "seed": seed, "summary": table.to_dict(), "out": out and str(out)})


def check_out(out: Path) -> None:
    """Raise an error now if draws cannot be written there."""
    if out.suffix.lower() not in WRITERS:
        raise ValueError(f"--out {out}: draws are written as {', '.join(WRITERS)}.")
    if out.suffix.lower() == ".nc":
        import xarray  # noqa: F401  (its absence is found out before anything is drawn)
    require_writable_file(out)


def names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name.strip() for name in listed.split(",") if name.strip()]


def new_arguments(subject: "Subject", runs: "ModelRuns", data: Path | None, arg: list[str]) -> "Bound | None":
    """Return the model with new arguments; None for those of the fit.

    What the command line does not say of an argument holds as it was for the fit. Data that are to be predicted may
    be lacking.
    """
    from vi_kl.targets.file import FileError, bind, read_table

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


def observed_arguments(bound: "Bound", runs: "ModelRuns") -> list[str]:
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


def drawn(found: "Fit", subject: "Subject", bound: "Bound | None", seed: int, options: dict[str, Any]) -> Drawn:
    """Return the draws of each site, {site: (draws, ...)}."""
    from vi_kl.core.errors import ModelError

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


def with_placeholders(bound: "Bound", subject: "Subject") -> "Bound | None":
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


def labels_of(runs: "ModelRuns", bound: "Bound | None", values: Drawn) -> "Labels":
    """Return the names of the axes and entries of what was drawn."""
    from vi_kl.cli.subject import coords_of
    from vi_kl.draws.labels import Labels

    shapes = {name: x.shape[1:] for name, x in values.items()}
    plates = {name: runs.sites[name].dims for name in shapes if name in runs.sites}
    plates = {name: axes for name, axes in plates.items() if len(axes) == len(shapes[name])}
    sizes = {axis: size for name, axes in plates.items() for axis, size in zip(axes, shapes[name], strict=True) if axis}
    return Labels.of(shapes, plates, coords={} if bound is None else coords_of(sizes, bound))


def summary_of(found: "Fit", values: Drawn, labels: "Labels") -> "Summary":
    """Return means, sds and quantiles of what was drawn."""
    from vi_kl.draws.summary import Summary

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


def show(table: "Summary", out: Path | None, said: Streams) -> None:
    """Show what was drawn to people."""
    from vi_kl.report.terminal import print_summary

    if said.as_json:
        return
    print_summary(table, said.output)
    if out is not None:
        said.show(f"The draws are in {out}.")


# Files of draws ------------------------------------------------------------------------------------------------------


def write_csv(out: Path, values: Drawn, labels: "Labels") -> None:
    """Write one row for each draw, and one column for each entry of each site."""
    import pandas as pd

    from vi_kl.core.files import replacing

    columns = [name for site, x in values.items() for name in labels.elements(site, x.shape[1:])]
    frames = [pd.DataFrame(np.asarray(x).reshape(len(x), -1)) for x in values.values()]
    table = pd.concat(frames, axis=1)
    table.columns = columns
    with replacing(out) as file:
        table.to_csv(file, index_label="draw")


def write_npz(out: Path, values: Drawn, labels: "Labels") -> None:
    """Write each site as an array whose first axis is the draws."""
    from vi_kl.core.files import replacing

    with replacing(out) as file:
        np.savez(file, **{name: np.asarray(x) for name, x in values.items()})


def write_netcdf(out: Path, values: Drawn, labels: "Labels") -> None:
    """Write a Dataset whose axes are called as the plates are."""
    import xarray

    from vi_kl.core.files import replacing

    dataset = xarray.Dataset(
        {name: (("draw", *labels.dims[name]), np.asarray(x)) for name, x in values.items()},
        coords={axis: [str(entry) for entry in entries] for axis, entries in labels.coords.items()},
    )
    with replacing(out) as file:
        file.write(dataset.to_netcdf())


WRITERS = {".csv": write_csv, ".npz": write_npz, ".nc": write_netcdf}
