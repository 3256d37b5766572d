"""`vi-kl predict`: draws of data from a saved fit."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.options import Arg, AsJson, Debug, Dtype, OtherModel, Quiet, Seed
from vi_kl.cli.streams import Streams, streams
from vi_kl.cli.wording import in_commands
from vi_kl.core.files import require_writable_file

if TYPE_CHECKING:
    from vi_kl.draws import Summary

ENDINGS = (".csv", ".npz", ".nc")


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
    draws: Annotated[
        int | None,
        typer.Option(
            help="The number of draws; by default 1,000, or fewer where they would fill the memory.",
            min=1,
            show_default=False,
        ),
    ] = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="A file for all draws: csv, npz or nc.", show_default=False)] = None,
    model: OtherModel = None,
    fitted_data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the data of the fit are now, if they have moved.", show_default=False),
    ] = None,
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
        with said.waiting():
            from vi_kl.cli.predictions import WRITERS, draw_and_summarise
            from vi_kl.cli.subject import open_fit

        # arguments on the command line are those of the new data; the fit's own are in its file
        found, subject = open_fit(fit, model, fitted_data, (), said, dtype)
        options = {"n": draws, "sites": names(sites), "redraw": names(redraw) or (), "progress": said.progress}
        with said.warnings_as_remarks():
            values, labels, table = draw_and_summarise(found, subject, data, arg or (), seed, options)
        if out is not None:
            WRITERS[out.suffix.lower()](out, values, labels)
        show(table, out, said)
        number = len(next(iter(values.values())))
        where = None if out is None else str(out)
        record = {"fit": str(fit), "draws": number, "seed": seed, "summary": table.to_dict(), "out": where}
        said.write({**record, "warnings": said.warnings})


def check_out(out: Path) -> None:
    """Raise an error now if draws cannot be written there."""
    if out.suffix.lower() not in ENDINGS:
        raise ValueError(f"--out {out}: draws are written as {', '.join(ENDINGS)}.")
    if out.suffix.lower() == ".nc" and importlib.util.find_spec("xarray") is None:
        raise ValueError(f"--out {out}: netCDF is written by xarray: pip install xarray.")
    require_writable_file(out)


def names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name.strip() for name in listed.split(",") if name.strip()]


def show(table: "Summary", out: Path | None, said: Streams) -> None:
    """Show what was drawn to people."""
    from vi_kl.report.terminal import print_summary

    if said.as_json:
        return
    print_summary(table, said.output, in_commands)
    if out is not None:
        said.show(f"The draws are in {out}.")
