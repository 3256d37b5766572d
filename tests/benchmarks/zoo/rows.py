"""Rows: lines of JSON that are added whole, and the table that they make."""

import json
import os
from pathlib import Path

import pandas as pd


def append(path: Path, row: dict) -> None:
    """Add a row in one write, so that an interrupted run, or another that writes there, leaves no half of a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def read(path: Path) -> list[dict]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def latest(rows: list[dict]) -> list[dict]:
    """Return the last row of each model, method and seed, in the order in which these came first."""
    return list({(row["model"], row["method"], row["seed"]): row for row in rows}.values())


def figures(rows: list[dict]) -> pd.DataFrame:
    """Return a table with a line for each model and method: costs, errors against NUTS, and words."""
    rows = latest(rows)
    of_nuts = {row["model"]: row for row in rows if row["method"] == "nuts"}
    return pd.DataFrame([line(row, of_nuts.get(row["model"]) or costs_of_nuts(row)) for row in rows])


def costs_of_nuts(row: dict) -> dict:
    """Return what a kept run of NUTS cost, from a row that was compared with it."""
    shares = {name: row.get(f"{name}_share") for name in ("gradients", "cpu_seconds")}
    return {name: row[name] / share for name, share in shares.items() if share}


def line(row: dict, known: dict) -> dict:
    return {
        "model": row["model"],
        "method": row["method"],
        "dim": row["dim"],
        "fit gradients": row.get("fit_gradients"),
        "gradients": row.get("gradients"),
        "of NUTS": ratio(row, known, "gradients"),
        "fit CPU s": row.get("fit_cpu_seconds"),
        "CPU s": row.get("cpu_seconds"),
        "of NUTS' CPU": ratio(row, known, "cpu_seconds"),
        "spent on": spent_on(row),
        "MiB": row.get("peak_mib"),
        "mean": row.get("mean_error"),
        "floor": row.get("mean_floor"),
        "sd": row.get("sd_error"),
        "sd floor": row.get("sd_floor"),
        "KL": row.get("kl"),
        "label": row.get("label", ""),
        "status": row["status"],
    }


def spent_on(row: dict) -> str:
    """Return the gradients of each step of the default, in thousands."""
    return ", ".join(f"{step['step']} {step['gradients'] / 1000:.1f}k" for step in row.get("steps", []))


def ratio(row: dict, known: dict, name: str, of: str = "") -> float | None:
    """Return a row's figure as a share of NUTS', by the same name or another; None if one of them is missing."""
    below = known.get(of or name)
    return row[name] / below if row.get(name) is not None and below else None


def shown(rows: list[dict]) -> str:
    """Return the table as text."""
    table = figures(rows)
    table["status"] = table["status"].str.replace("\n", " ").str.slice(0, 80)
    with pd.option_context("display.width", 300, "display.max_colwidth", 80):
        return table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="")
