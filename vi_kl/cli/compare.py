"""`vi-kl compare`: several approximations of one posterior, each with its certificate."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.judging import failures_of
from vi_kl.cli.options import Arg, AsJson, Data, Debug, Dtype, Model, Quiet, Reference, Seed, Set, Strict
from vi_kl.cli.streams import Streams, streams
from vi_kl.cli.wording import in_commands
from vi_kl.core.files import require_writable_file

if TYPE_CHECKING:
    from vi_kl.workflows.comparison import Comparison

USUAL = "laplace,mean_field,full_rank,flow"
PAGE, NUMBERS = ".html", ".json"


def compare(
    model: Model,
    data: Data = None,
    arg: Arg = None,
    methods: Annotated[str, typer.Option(help="The methods by name, with commas between them.")] = USUAL,
    reference: Annotated[
        Reference,
        typer.Option(
            help="What each q is compared with: NUTS, quadrature, sequential Monte Carlo, the best there is, nothing."
        ),
    ] = Reference.auto,
    settings: Set = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="A file for a page with figures (.html), or for all numbers (.json).", show_default=False),
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit your model by several methods, and say how far each is from the posterior.

    Model and data are given as to [bold]vi-kl fit[/]. The reference is the posterior by a closed form, by quadrature or
    by a run of NUTS that has to pass its checks; with --reference none, the certificates do without. What is finished
    is written to --out as it comes. --strict ends with exit code 1 unless one of the approximations passes the check.

    Example: vi-kl compare schools.py:schools --data schools.csv --methods laplace,full_rank,flow --out schools.html
    """
    with streams(as_json=as_json, quiet=quiet, debug=debug) as said:
        check_out(out)
        when_interrupted(lambda: "No approximation was finished yet.")
        with said.waiting():
            import vi_kl
            from vi_kl.cli.references import reference_of
            from vi_kl.cli.settings import algorithms_named
            from vi_kl.cli.subject import subject_of

            names = names_of(methods)
        subject = subject_of(model, data, arg or (), said, dtype=dtype)
        algorithms = algorithms_named(subject.target, names, settings or ())
        known, why_not = reference_of(subject.target, reference, seed, said)
        without = (f"There is no reference posterior to compare with: {why_not}",) if why_not else ()
        target = subject.target if known is None else subject.target.with_reference(known)
        more = [*options_of("--arg", arg), *options_of("--set", settings), *options_of("--dtype", dtype and [dtype])]
        command = typed(model, data, more, methods, reference, seed)

        def keep(comparison: "Comparison") -> None:
            words = ", ".join(certificate.name for certificate in comparison.certificates)
            comparison = dataclasses.replace(comparison, notes=without)
            if out is None:
                when_interrupted(lambda: f"What was finished, {words or 'nothing'}, is not kept: --out keeps it.")
            elif words:
                write(comparison, out, command, seed, with_figures=False)
                when_interrupted(lambda: f"What was finished, {words}, is in {out}.")

        table = vi_kl.compare(target, list(algorithms.values()), key=seed, progress=said.progress, finished=keep)
        table = dataclasses.replace(table, notes=without)
        if out is not None:
            write(table, out, command, seed, with_figures=True)
        passed = [not failures_of(certificate) for certificate in table.certificates]
        show(table, out, said)
        record = {"model": subject.name, "passed": any(passed), **table.to_dict()}
        said.write({**record, "made": {**subject.made, "seed": seed}, "warnings": said.warnings})
        if strict and not any(passed):
            raise typer.Exit(1)


def typed(model: str, data: Path | None, more: list[str], methods: str, reference: Reference, seed: int) -> str:
    """Return the command that makes the same comparison again."""
    given = ["--data", str(data)] if data is not None else []
    options = ["--methods", methods, "--reference", reference.value, "--seed", str(seed)]
    return shlex.join(["vi-kl", "compare", model, *given, *more, *options])


def options_of(name: str, values: list[str] | None) -> list[str]:
    """Return an option with each of its values, as they are typed."""
    return [word for value in values or () for word in (name, value)]


def check_out(out: Path | None) -> None:
    """Raise an error now if a comparison cannot be written there."""
    if out is None:
        return
    if out.suffix.lower() not in (PAGE, NUMBERS):
        raise ValueError(f"--out {out}: a comparison is written as a page ({PAGE}) or as numbers ({NUMBERS}).")
    require_writable_file(out)


def names_of(methods: str) -> list[str]:
    """Return the names of the methods that are listed.

    Raises:
        ValueError: there is none, or one is unknown.
    """
    from vi_kl.algorithms.arguments import method_named
    from vi_kl.algorithms.registry import METHODS

    names = [method_named(name, METHODS) for listed in methods.split(",") for name in apart(listed.strip())]
    if not names:
        raise ValueError(f"--methods names none: for example --methods {USUAL}.")
    return names


def apart(listed: str) -> list[str]:
    """Return what stands between two commas as names: as one, unless only its words are methods ("laplace flow")."""
    from vi_kl.algorithms.algorithm import Algorithm
    from vi_kl.algorithms.arguments import is_method
    from vi_kl.algorithms.registry import METHODS

    words = listed.split()
    one = not words or is_method(listed, Algorithm, METHODS)
    return [listed] * bool(words) if one or not all(is_method(w, Algorithm, METHODS) for w in words) else words


def write(table: "Comparison", out: Path, command: str, seed: int, *, with_figures: bool) -> None:
    """Write a comparison as a page or as numbers, whole or not at all."""
    from vi_kl.report.comparison import made_by, write_comparison_page
    from vi_kl.report.pages import write_atomically

    if out.suffix.lower() == NUMBERS:
        numbers = {"made": made_by(table, command, seed).to_dict(), **table.to_dict()}
        write_atomically(out, json.dumps(numbers, indent=2, allow_nan=False) + "\n")
        return
    write_comparison_page(table, out, key=seed, call=command, with_figures=with_figures, wording=in_commands)


def show(table: "Comparison", out: Path | None, said: Streams) -> None:
    """Show a comparison to people."""
    from vi_kl.report.terminal import print_comparison

    if said.as_json:
        return
    print_comparison(table, console=said.output, wording=in_commands)
    if out is not None:
        said.show(f"The comparison is in {out}.")
