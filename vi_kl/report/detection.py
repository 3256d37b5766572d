"""The table of planted failures for a terminal: which diagnostic sees what, and how often."""

import json
from itertools import pairwise

from rich.console import Console, Group
from rich.text import Text

from vi_kl.report.tables import Table
from vi_kl.report.terminal_table import TerminalTable
from vi_kl.workflows.detection import DETECTORS, DetectionTable
from vi_kl.workflows.planted_failures import FAILURES, HEALTHY


def show_detection(table: DetectionTable, as_json: bool, console: Console) -> None:
    if as_json:
        console.print_json(json.dumps(table.to_dict()))
        return
    console.print(Group(rates(table), *legend(table)))


def rates(table: DetectionTable) -> TerminalTable:
    """Return a table with a row per diagnostic and a column per failure; reliable detections are bold."""
    rows = tuple(
        (detector.name, detector.needs, *(cell(rates[detector.name]) for rates in table.rates.values()))
        for detector in DETECTORS
    )
    ends = tuple(i for i, (one, other) in enumerate(pairwise(DETECTORS)) if one.needs != other.needs)
    failures = {failure.name: failure.what for failure in (HEALTHY, *FAILURES)}
    meanings = ("What raises the alarm.", "What it has to be given.", *(failures[name] for name in table.rates))
    shown = Table(("diagnostic", "needs", *table.rates), rows, meanings)
    return TerminalTable(shown, f"Alarms in {table.repetitions} of each failure", (0, 1), inside=True, ends=ends)


def cell(rate: float) -> Text:
    style = "bold" if rate >= 0.9 else "dim" if rate <= 0.1 else ""
    return Text(f"{rate:.0%}", style=style)


def legend(table: DetectionTable) -> list[Text]:
    lines = [Text("\nAn alarm is raised by", style="bold")]
    lines += [Text(f"  {d.name}: {d.rule}") for d in DETECTORS]
    lines.append(Text("\nThe failures", style="bold"))
    lines += [Text(f"  {p.name}: {p.what}") for p in (HEALTHY, *FAILURES) if p.name in table.rates]
    unseen = table.unseen
    sentence = (
        f"No diagnostic sees {', '.join(unseen)} in nine of ten." if unseen else "Each failure is seen by one at least."
    )
    return [*lines, Text(f"\n{sentence}")]
