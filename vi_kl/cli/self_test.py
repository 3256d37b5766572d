"""`vi-kl self-test`: the diagnostics held to planted failures."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from vi_kl.cli.divergence.spinner import patience


def self_test(
    repetitions: Annotated[int, typer.Option(help="Of each failure, each from another seed.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Hold the diagnostics themselves to the truth: which of them sees which failure, and how often.

    A q that misses a mode, is too narrow, too wide, without correlation, too thin in the tail, stopped early, or
    wrong in its density, reference runs that are stuck or unconverged, and a healthy q, each checked with and without
    its reference. About six seconds for each repetition of all of them.

    Your own fits are checked in Python: [bold]vi_kl.check(fit, key=key)[/].

    Example: vi-kl self-test --repetitions 50
    """
    output, errors = Console(), Console(stderr=True)
    try:
        with patience(errors, "Importing JAX and NumPyro"):
            from vi_kl.report.detection import show_detection
            from vi_kl.workflows.detection import detection_table
        with Progress(console=errors, transient=True) as bar:
            task = bar.add_task("planting", total=1.0)
            told = lambda done, name: bar.update(task, completed=done, description=name)  # noqa: E731
            table = detection_table(repetitions, progress=told)
    except KeyboardInterrupt:
        errors.print("[yellow]Interrupted[/] before the table was complete.")
        raise typer.Exit(130) from None
    show_detection(table, as_json, output)
