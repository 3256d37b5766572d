"""`vi-kl models`: the catalogue of models that come with vi_kl."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vi_kl.cli.options import AsJson, Debug
from vi_kl.cli.streams import Streams, streams

if TYPE_CHECKING:
    from vi_kl.models.catalogue import Entry

NOTES = (
    "Take: the cheapest method that is near enough, or not to be told apart from the nearest, and its measured "
    'KL(q||posterior) in nats; "none" where even the nearest is no stand-in. vi-kl models NAME says more of one.',
    "The models of posteriordb read their data from the copy of that database that the environment variable "
    "POSTERIORDB_PATH names; the others have theirs. Any of these can stand for MODEL.py:function: "
    "vi-kl fit eight_schools_centred.",
)


def models(
    name: Annotated[
        str | None, typer.Argument(help="One of them, of which more is said.", metavar="NAME", show_default=False)
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the models that come with vi_kl, with their dimension, what is hard about each, and which method to take.

    Example: vi-kl models

    All of one: vi-kl models funnel
    """
    with streams(as_json=as_json, quiet=False, debug=debug) as said:
        from vi_kl.models.catalogue import ENTRIES, all_measured, entry_of

        found = ENTRIES if name is None else (entry_of(name),)
        if name is None:
            show(found, said)
        else:
            said.show(all_of(found[0], all_measured()["how"]))
        said.write({"models": [as_record(entry) for entry in found], "measured": all_measured()["how"]})


def as_record(entry: "Entry") -> dict:
    """Return an entry as JSON has it."""
    measured = entry.measured
    return dataclasses.asdict(entry) | {"measured": None if measured is None else dataclasses.asdict(measured)}


def show(entries: "tuple[Entry, ...]", said: Streams) -> None:
    """Show the catalogue as a table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("dim", justify="right")
    table.add_column("what is hard", overflow="fold")
    table.add_column("take", overflow="fold")
    for entry in entries:
        table.add_row(entry.name, str(entry.dim), entry.hard, str(entry.measured or "not measured"))
    said.show(table, "", *NOTES)


def all_of(entry: "Entry", how: str) -> Table:
    """Return all that is known of one model, a row for each fact."""
    measured = entry.measured
    facts = {
        "Model": f"{entry.name}, of {entry.source}",
        "Length of z": str(entry.dim),
        "Data": entry.data,
        "What is hard": entry.hard,
        "Known by": entry.exact,
    }
    if measured is not None:
        kl = "unknown" if measured.kl is None else f"{measured.kl:g} ± {measured.standard_error:g} nats"
        facts |= {
            "Take": str(measured),
            "KL(q||posterior)": f"{kl} ({measured.label}), of {measured.method} with {measured.gradients:,} gradients",
            "Nearest": f"{measured.nearest}, of {', '.join(measured.methods)}",
            "Measured by": how,
        }
    facts["Fit it by"] = f"vi-kl fit {entry.name}"
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, Text(fact))
    return table
