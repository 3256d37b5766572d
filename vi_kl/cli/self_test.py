"""`vi-kl self-test`: how often the diagnostics detect planted failures."""

from typing import Annotated

import typer
from rich.console import Console

from vi_kl.cli.divergence.spinner import delayed_spinner
from vi_kl.cli.interruption import when_interrupted


def self_test(
    repetitions: Annotated[
        int, typer.Option(help="Number of times that each failure is planted, each from another seed.", min=1)
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Test the diagnostics themselves: plant failures whose truth is known, and count how often each is detected.

    The failures are a q that misses a mode, is too narrow, too wide, without correlation, too thin in the tail, stopped
    early, or wrong in its density, and reference runs that are stuck or unconverged. They and a healthy q are checked
    with and without a reference. One repetition of all of them takes about half a minute.

    Your own fits are checked in Python: [bold]vi_kl.check(fit, key=key)[/].

    Example: vi-kl self-test --repetitions 50
    """
    output, errors = Console(), Console(stderr=True)
    when_interrupted(lambda: "The table was not complete.")
    with delayed_spinner(errors, "Importing JAX and NumPyro"):
        from vi_kl.report.detection import show_detection
        from vi_kl.workflows.detection import detection_table
    show_detection(detection_table(repetitions), as_json, output)
