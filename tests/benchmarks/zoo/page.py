"""The page in docs/ that shows rows: dated, with versions, commit and machine, and nothing in it written by hand."""

import json
import statistics
from pathlib import Path

from . import ALL, LARGE, ZOO
from .rows import costs_of_nuts, latest, ratio

DOCS = Path(__file__).parents[3] / "docs"
HEAD = """# Benchmarks

{how_many} models of the kinds that people fit, and {large} of the large ones, each fitted by `vi_kl.fit` with its
default and checked by `vi_kl.check`. Beside it stands NUTS: two chains of 1,000 draws after a warm-up of 1,000, which
counts. Seconds are those of the CPU, all cores together, with compilation, in a process of its own that finds nothing
compiled.

{when}

    {command}

"""
ABOUT_ZOO = """## The zoo

After the gradients of the fit stand those of the fit and its check together, and their share of NUTS'; so for the CPU
seconds.
Errors are root mean squares over the coordinates of z, in posterior sds; in brackets NUTS' own Monte-Carlo error, below
which nothing can be told. A † marks a run of NUTS that failed a check of its own (R-hat, effective sample size,
divergences, energy).

"""
ABOUT_LARGE = """## Large models

NumPyro's `AutoNormal` has 10,000 steps with each of three step sizes, of which the best counts; its seconds are those
of the best alone. Errors are of means and sds, in posterior sds, where the posterior is known: by hand and quadrature,
or from long runs of Stan.

"""

TABLE = '<div class="many-columns" markdown>\n\n{}\n</div>\n\n'  # for which style.css makes room
COSTS = ("gradients", "with check", "of NUTS'", "CPU s", "with check", "of NUTS'")
COLUMNS_OF_ZOO = ("model", "dimensions", *COSTS, "means", "sds", "KL", "kept")
PEER = ("AutoNormal: CPU s", "means", "sds")
COLUMNS_OF_LARGE = ("model", "dimensions", "gradients", "with check", "CPU s", "MiB", "means", "sds", *PEER)


def publish(rows: list[dict], command: str, folder: Path = DOCS) -> None:
    """Write benchmarks.json, the rows without what only their authors need, and benchmarks.md, the page."""
    rows = [{name: value for name, value in row.items() if name != "trace"} for row in latest(rows)]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    (folder / "benchmarks.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(page(rows, command), encoding="utf-8")


def page(rows: list[dict], command: str) -> str:
    """Return the page."""
    found = {(row["model"], row["method"]): row for row in rows}
    zoo, large = ([name for name in group if (name, "default") in found] for group in (ZOO, LARGE))
    how_many = f"{len(zoo)} of the zoo's {len(ZOO)}"
    parts = [HEAD.format(when=circumstances(rows), command=command, how_many=how_many, large=len(large))]
    if zoo:
        parts += [ABOUT_ZOO, zoo_table(zoo, found), medians(zoo, found), failures(zoo, found)]
    if large:
        parts += [ABOUT_LARGE, large_table(large, found), failures(large, found)]
    parts += ["## What is hard about them\n\n", hard([*zoo, *large])]
    return "".join(parts)


def circumstances(rows: list[dict]) -> str:
    """Return when, with what and on what the rows were measured."""
    dates = sorted({row["date"] for row in rows})
    versions = ", ".join(f"{name} {version}" for name, version in rows[-1]["versions"].items())
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    machines = ", ".join(dict.fromkeys(f"{row['machine']} with {row['cores']} cores" for row in rows))
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Measured {when} on {machines}, at {commits}, with {versions}:"


def beside_nuts(name: str, found: dict) -> tuple[dict, dict]:
    """Return the default's row of a model, and NUTS' row, or as much of it as the default's tells."""
    ours = found[name, "default"]
    return ours, found.get((name, "nuts")) or costs_of_nuts(ours)


def heading(first: str, *numbers: str) -> str:
    """Return the head of a table: a column of words, and others of numbers."""
    return f"| {' | '.join((first, *numbers))} |\n|---|{'---:|' * len(numbers)}\n"


def zoo_table(names: list[str], found: dict) -> str:
    lines = [heading(*COLUMNS_OF_ZOO)]
    for name in names:
        ours, nuts = beside_nuts(name, found)
        cells = [
            name + ("" if nuts.get("converged", True) else " †"),
            ALL[name].dim,
            number(ours.get("fit_gradients"), ",.0f"),
            number(ours.get("gradients"), ",.0f"),
            number(ratio(ours, nuts, "gradients"), ".2f"),
            number(ours.get("fit_cpu_seconds"), ".1f"),
            number(ours.get("cpu_seconds"), ".1f"),
            number(ratio(ours, nuts, "cpu_seconds"), ".2f"),
            with_floor(ours, "mean"),
            with_floor(ours, "sd"),
            divergence(ours),
            ours.get("family", "-"),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |\n")
    return TABLE.format("".join(lines))


def large_table(names: list[str], found: dict) -> str:
    lines = [heading(*COLUMNS_OF_LARGE)]
    for name in names:
        ours, peer = found[name, "default"], found.get((name, "autonormal"), {})
        cells = [
            name,
            f"{ALL[name].dim:,}",
            number(ours.get("fit_gradients"), ",.0f"),
            number(ours.get("gradients"), ",.0f"),
            number(ours.get("cpu_seconds"), ",.1f"),
            number(ours.get("peak_mib"), ",.0f"),
            *(number(ours.get(f"known_{what}_error"), ".3f") for what in ("mean", "sd")),
            number(peer.get("cpu_seconds_of_best"), ",.1f"),
            *(number(peer.get(f"known_{what}_error"), ".3f") for what in ("mean", "sd")),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |\n")
    return TABLE.format("".join(lines))


def medians(names: list[str], found: dict) -> str:
    """Return a sentence about all models of which both rows are there."""
    pairs = [beside_nuts(name, found) for name in names]
    shares = [[ratio(*pair, what) for pair in pairs] for what in ("gradients", "cpu_seconds")]
    gradients, seconds = ([share for share in kind if share is not None] for kind in shares)
    if not gradients:
        return ""
    dear = sum(share > 0.5 for share in gradients)
    return (
        f"At the median the default takes {statistics.median(gradients):.2f} of NUTS' gradients and "
        f"{statistics.median(seconds):.2f} of its CPU seconds, check included; for {dear} of {len(gradients)} "
        "models it takes more than half of NUTS' gradients.\n\n"
    )


def failures(names: list[str], found: dict) -> str:
    """Return a list of the rows that have no figures, and why."""
    failed = [row for (name, _), row in found.items() if name in names and row.get("failed")]
    return "".join(f"- {row['model']}, {row['method']}: {one_line(row['status'])}\n" for row in failed) + "\n"


def hard(names: list[str]) -> str:
    return "".join(f"- **{name}**: {ALL[name].hard}\n" for name in names)


def number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def with_floor(row: dict, what: str) -> str:
    error, floor = row.get(f"{what}_error"), row.get(f"{what}_floor")
    return "-" if error is None else f"{error:.3f} ({floor:.3f})"


def divergence(row: dict) -> str:
    """Return the certificate's KL, or its label where there is none."""
    return row.get("label", "-") if row.get("kl") is None else f"{row['kl']:.2g}"


def one_line(text: str) -> str:
    return " ".join(text.split())
