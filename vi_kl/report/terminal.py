"""Tables and words for a terminal, by rich: what `print(comparison)` is for logs, for people who read along."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from vi_kl.report.tables import EIGHTY_CHARACTERS, Table, comparison_table, notes
from vi_kl.workflows.comparison import Comparison

LONGEST_LINE = 100  # the most columns of prose; wider is tiring to read


def print_comparison(comparison: Comparison, unit: str = "nats", console: Console | None = None) -> None:
    """Print the table of a comparison and what should not be missed about it, in eighty characters.

    Args:
        comparison: what `compare` returned.
        unit: "nats" or "bits".
        console: the console to print on; by default the standard output.
    """
    console = console or Console()
    console.print(rich_table(comparison_table(comparison, unit, EIGHTY_CHARACTERS), inside=True), "")
    print_notes(notes(comparison), console)


def print_notes(words: Iterable[str], console: Console) -> None:
    """Print paragraphs, indented and no longer than the eye can follow."""
    for line in words:
        console.print(Padding(Text(line), (0, 0, 1, 2)), width=min(console.width, LONGEST_LINE))


def rich_table(table: Table, title: str | None = None, left: Iterable[int] = (0,), inside: bool = False) -> RichTable:
    """Return a table of ours as one of rich's, whose cells are taken literally, brackets and all.

    Args:
        table: what to show; a cell may also be one of rich's own `Text`s.
        title: the line above it.
        left: the places of the columns to align at the left; numbers stand at the right.
        inside: whether other text surrounds it, so that it needs no space at its edges.
    """
    grid = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=not inside, show_edge=not inside)
    for i, name in enumerate(table.columns):
        grid.add_column(Text(name), justify="left" if i in left else "right", no_wrap=inside)
    for row in table.rows:
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return grid


def progress_bar(console: Console) -> Progress:
    """Return a bar that counts finished pieces of work, and disappears when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
