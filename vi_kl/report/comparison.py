"""The page of a Comparison: all that `vi-kl worms` shows of one model, for a comparison of any.

    table = vi_kl.compare(target, ["mean_field", "full_rank", "flow"], key=0)
    vi_kl.report.write_report(table, "report", key=1)  # index.html, figures/, results.json

Its figures are in comparison_figures.py, and the terminal's part is in terminal.py.
"""

import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vi_kl.core.annotations import KeyLike
from vi_kl.core.files import require_writable
from vi_kl.core.random_keys import key_text
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.report.comparison_figures import best_log_evidence, pictures_of
from vi_kl.report.pages import Section, render_page, write_atomically, write_page
from vi_kl.report.parameters import parameters_section
from vi_kl.report.picture import Picture
from vi_kl.report.provenance import Provenance, provenance
from vi_kl.report.tables import comparison_table, cost_table, notes, readable
from vi_kl.workflows.comparison import Comparison


def write_report(
    comparison: Comparison,
    folder: str | Path,
    *,
    key: KeyLike,
    unit: str = "nats",
    title: str = "",
    when: datetime.datetime | None = None,
) -> Path:
    """Write a comparison as a folder: index.html (one self-contained page), figures/ and results.json.

    Args:
        comparison: what `compare` returned.
        folder: the folder to write to; made if need be.
        key: a JAX random key, or an integer, for the draws in the figures.
        unit: "nats" or "bits", of everything shown; results.json is in nats.
        title: the page's title; by default it names the model.
        when: the time that the report states; by default the present one.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    require_writable(folder)
    call = f'vi_kl.report.write_report(comparison, folder, key={key_text(key)}, unit="{unit}")'
    made = made_by(comparison, call, key, when)
    pictures = pictures_of(comparison, key, unit)
    own = parameters_section(comparison, key) if comparison.fits else None
    write_page(folder, comparison_page(comparison, pictures, unit, title, made, parameters=own), pictures)
    numbers = {"made": made.to_dict(), **comparison.to_dict()}
    write_atomically(folder / "results.json", json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    return folder / "index.html"


def write_comparison_page(
    comparison: Comparison,
    path: str | os.PathLike,
    *,
    key: KeyLike,
    unit: str = "nats",
    title: str = "",
    call: str = "",
    with_figures: bool = True,
    wording: Callable[[str], str] = str,
) -> Path:
    """Write a comparison as one self-contained page; see `Comparison.to_html`.

    Args:
        comparison: what `compare` returned.
        path: the file to write.
        key: a JAX random key, or an integer, for the draws in the figures.
        unit: "nats" or "bits", of everything shown.
        title: the page's title; by default it names the model.
        call: what the page says that it was made by; by default a call of `to_html`.
        with_figures: whether there are figures, which take seconds to draw.
        wording: a function that all sentences go through; the command line names commands in the place of calls.
    """
    path = Path(path).expanduser()
    require_writable(path.parent)
    again = f'{call_of(comparison)}.to_html({path.name!r}, key={key_text(key)}, unit="{unit}")'
    made = made_by(comparison, call or again, key)
    drawn = with_figures and bool(comparison.fits)
    pictures = pictures_of(comparison, key, unit) if drawn else []
    own = parameters_section(comparison, key) if drawn else None
    write_atomically(path, comparison_page(comparison, pictures, unit, title, made, wording, own))
    return path


def call_of(comparison: Comparison) -> str:
    """Return the call that makes the comparison again."""
    methods = comparison.methods or str(list(comparison.asked or comparison.names))
    return f"vi_kl.compare(target, {methods}, key={comparison.key or 'key'})"


def comparison_page(
    comparison: Comparison,
    pictures: Sequence[Picture] = (),
    unit: str = "nats",
    title: str = "",
    made: Provenance | None = None,
    wording: Callable[[str], str] = str,
    parameters: Section | None = None,
) -> str:
    """Return the HTML of a page with the table of a comparison, its pictures, and what each certificate says.

    Args:
        comparison: what `compare` returned.
        pictures: figures to show below the table.
        unit: "nats" or "bits".
        title: the page's title; by default it names the model.
        made: when and by what the page is made; by default now, by this function.
        wording: a function that all sentences go through; the command line names commands in the place of calls.
        parameters: what `parameters_section` made of it, to show below the table.
    """
    title = title or f"Approximations of {comparison.target.density}"
    made = made or provenance("vi_kl.report.comparison_page(comparison)", keys_of(comparison))
    sections = sections_of(comparison, pictures, unit, wording, parameters)
    return render_page(title, lead(comparison, unit), sections, made)


def made_by(comparison: Comparison, call: str, key: KeyLike, when: datetime.datetime | None = None) -> Provenance:
    """Return where a report of a comparison with figures comes from."""
    return provenance(call, {**keys_of(comparison), "the draws in the figures": key_text(key)}, when)


def keys_of(comparison: Comparison) -> dict[str, str]:
    return {"the fits": comparison.key or "unknown"}


def lead(comparison: Comparison, unit: str) -> str:
    """Say what was approximated, and what is known of it."""
    evidence = best_log_evidence(comparison)
    known = "unknown" if evidence is None else str(evidence.to(unit))
    count = len(comparison.fits)
    return (
        f"{count} approximation{'' if count == 1 else 's'} of a posterior over {comparison.target.dim} unconstrained "
        f"dimension{'' if comparison.target.dim == 1 else 's'}, each fitted and checked. The log evidence: {known}."
    )


def sections_of(
    comparison: Comparison,
    pictures: Sequence[Picture],
    unit: str,
    wording: Callable[[str], str] = str,
    parameters: Section | None = None,
) -> list[Section]:
    """Return what to take, with the table; the parameters; pictures; every certificate in words; what each fit cost."""
    certificates = comparison.certificates
    table = comparison_table(comparison, unit, ranked=True)
    remarks = tuple(map(wording, notes(comparison, omit=certificates)))
    parts = [Section("Which to take", remarks, (table,), answer=wording(comparison.recommendation))]
    if parameters is not None:
        parts.append(dataclasses.replace(parameters, paragraphs=tuple(map(wording, parameters.paragraphs))))
    if pictures:
        parts.append(Section("Figures", pictures=tuple(pictures)))
    if certificates:
        words = tuple(in_words(c, wording) for c in certificates)
        parts.append(Section("What the certificates say", parts=words))
        parts.append(Section("What each cost", tables=(cost_table(comparison),)))
    return parts


def in_words(c: Certificate, wording: Callable[[str], str] = str) -> tuple[str, tuple[str, ...]]:
    """Write one certificate as a heading and paragraphs."""
    words = [c.verdict, f"It cannot see: {c.cannot_see}", *([f"Try: {' '.join(c.try_next)}"] if c.try_next else [])]
    return f"{readable(c.name)} ({c.label})", tuple(map(wording, words))
