"""Tables and words for a terminal, by rich: what `print(comparison)` is for logs, for people who read along."""

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from vi_kl.diagnostics.certificate import Certificate
from vi_kl.draws.summary import Summary
from vi_kl.report.tables import EIGHTY_CHARACTERS, Table, comparison_table, notes
from vi_kl.report.terminal_table import TerminalTable
from vi_kl.workflows.comparison import Comparison

LONGEST_LINE = 100  # the most columns of prose; wider is tiring to read


def print_comparison(
    comparison: Comparison,
    unit: str = "nats",
    console: Console | None = None,
    wording: Callable[[str], str] = str,
) -> None:
    """Print the table of a comparison and what should not be missed about it, in the width that the console has.

    Args:
        comparison: what `compare` returned.
        unit: "nats" or "bits".
        console: the console to print on; by default the standard output.
        wording: a function that all sentences go through; the command line names commands in the place of calls.
    """
    console = console or Console()
    console.print(TerminalTable(comparison_table(comparison, unit, EIGHTY_CHARACTERS, ranked=True), inside=True), "")
    print_notes(map(wording, [*notes(comparison), comparison.recommendation]), console)


def print_summary(
    summary: Summary, console: Console, wording: Callable[[str], str] = str, *, with_notes: bool = True
) -> None:
    """Print means, sds and quantiles as a table, without the most of long sites, and what must not be missed.

    Args:
        summary: what `fit.summary` returned.
        console: the console to print on.
        wording: a function that all sentences go through, as in `print_comparison`.
        with_notes: whether to print the notes, which repeat what a certificate says that is printed besides.
    """
    frame, left_out = summary.shown()
    rows = [(str(name), *map(str, row)) for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    columns = ("", *map(str, frame.columns))
    console.print(Text(summary.source[:1].upper() + summary.source[1:]), "")
    console.print(TerminalTable(Table(columns, tuple(rows), ("what it is of", *columns[1:])), inside=True), "")
    words = summary.paragraphs(left_out)
    print_notes(map(wording, words if with_notes else words[: len(words) - len(summary.notes)]), console)


def print_certificate(certificate: Certificate, console: Console, wording: Callable[[str], str] = str) -> None:
    """Print a certificate: its figures, and what they mean in words.

    Args:
        certificate: what `check` returned.
        console: the console to print on.
        wording: a function that all lines go through, as in `print_comparison`.
    """
    title, *lines = map(wording, str(certificate).splitlines())
    console.print(Text(title), width=min(console.width, LONGEST_LINE))
    for line in lines:
        console.print(Padding(Text(line.strip()), (0, 0, 0, 2)), width=min(console.width, LONGEST_LINE))
    console.print()


def print_notes(words: Iterable[str], console: Console) -> None:
    """Print paragraphs, indented and no longer than the eye can follow."""
    for line in words:
        console.print(Padding(Text(line), (0, 0, 1, 2)), width=min(console.width, LONGEST_LINE))


def print_heading(words: str, console: Console) -> None:
    """Print a heading in the middle of a line; where the line would be too short for it, without the line."""
    if len(words) + 4 <= console.width:
        console.rule(Text(words, style="bold"))
    else:
        console.print(Text(words, style="bold"))


def progress_bar(console: Console) -> Progress:
    """Return a bar that counts finished pieces of work, and disappears when it is done."""
    words, numbers = Column(), Column(no_wrap=True)  # in a narrow terminal the words wrap and the bar is short
    columns = (
        TextColumn("{task.description}", table_column=words),
        BarColumn(),
        MofNCompleteColumn(table_column=numbers),
        TimeElapsedColumn(table_column=numbers),
    )
    return Progress(*columns, console=console, transient=True)
