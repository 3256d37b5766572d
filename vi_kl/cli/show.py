"""`vi-kl show`: what a saved fit is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vi_kl.cli.options import AsJson, Debug
from vi_kl.cli.streams import streams

if TYPE_CHECKING:
    from vi_kl.algorithms.storage import StoredFit


def show(
    fit: Annotated[Path, typer.Argument(help="The file of a fit, as vi-kl fit --out writes it.", show_default=False)],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a saved fit is: its method, status, cost, target and versions. The model is not needed, and not run.

    Example: vi-kl show schools.vikl
    """
    with streams(as_json=as_json, quiet=False, debug=debug) as said:
        with said.waiting():
            from vi_kl.algorithms.storage import describe
            from vi_kl.core.records import plain

            stored = describe(fit)
        said.show(shown(stored))
        said.write(plain({**vars(stored), "path": str(stored.path)}))


def shown(stored: "StoredFit") -> Table:
    """Return what there is to say of a fit, a row for each fact."""
    from vi_kl.cli.fit import cost_in_words

    made = stored.made
    sites = ", ".join(f"{name}{list(shape) if shape else ''}" for name, shape in stored.sites.items())
    facts = {
        "Fit": str(stored.path),
        "Method": stored.method if stored.method == stored.family else f"{stored.method}, whose q is {stored.family}",
        "Status": str(stored.status),
        "Posterior": f"{stored.model}, over {sites}: z has length {stored.dim}",
        "Model": made.get("model"),
        "Data": made.get("data") or ", ".join(stored.data) or None,
        "Arguments": " ".join(made.get("arguments") or ()) or None,
        "Seed": made.get("seed"),
        "Saved": made.get("date"),
        "Cost": cost_in_words(stored.cost),
        "Versions": ", ".join(f"{name} {version}" for name, version in stored.versions.items()),
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact is not None:
            table.add_row(name, Text(str(fact)))
    return table
