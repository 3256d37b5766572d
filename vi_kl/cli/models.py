"""`vi-kl models`: the catalogue of models that come with vi_kl."""

import dataclasses
from typing import TYPE_CHECKING

from rich.table import Table

from vi_kl.cli.options import AsJson, Debug
from vi_kl.cli.streams import Streams, streams

if TYPE_CHECKING:
    from vi_kl.models.catalogue import Entry

DATABASE = (
    "The models of posteriordb read their data from the copy of that database that the environment variable "
    "POSTERIORDB_PATH names; the others have theirs. Any of these can stand for MODEL.py:function: "
    "vi-kl fit eight_schools_centred."
)


def models(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the models that come with vi_kl, with their dimension and what is hard about each.

    Example: vi-kl models
    """
    with streams(as_json=as_json, quiet=False, debug=debug) as said:
        from vi_kl.models.catalogue import ENTRIES

        show(ENTRIES, said)
        said.write({"models": [dataclasses.asdict(entry) for entry in ENTRIES]})


def show(entries: "tuple[Entry, ...]", said: Streams) -> None:
    """Show the catalogue as a table."""
    if said.as_json:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("dim", justify="right")
    table.add_column("what is hard", overflow="fold")
    for entry in entries:
        table.add_row(entry.name, entry.source, str(entry.dim), entry.hard)
    said.show(table, "", DATABASE)
