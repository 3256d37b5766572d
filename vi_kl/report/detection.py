"""The table of planted failures for a terminal: which diagnostic sees what, and how often."""

import json

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from vi_kl.workflows.detection import DETECTORS, DetectionTable
from vi_kl.workflows.planted_failures import FAILURES, HEALTHY


def show_detection(table: DetectionTable, as_json: bool, console: Console) -> None:
    if as_json:
        console.print_json(json.dumps(table.to_dict()))
        return
    console.print(Group(rates(table), *legend(table)))


def rates(table: DetectionTable) -> Table:
    """Return a table with a row per diagnostic and a column per failure; reliable detections are bold."""
    grid = Table(title=f"Alarms in {table.repetitions} of each failure", title_justify="left", show_edge=False)
    grid.add_column("diagnostic")
    grid.add_column("needs")
    for name in table.rates:
        grid.add_column(name, justify="right")
    for i, detector in enumerate(DETECTORS):
        grid.add_row(
            detector.name,
            detector.needs,
            *(cell(table.rates[name][detector.name]) for name in table.rates),
            end_section=i + 1 < len(DETECTORS) and DETECTORS[i + 1].needs != detector.needs,
        )
    return grid


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
