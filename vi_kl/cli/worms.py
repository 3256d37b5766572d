"""`vi-kl worms`: the worm-teeth story."""

import enum
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vi_kl.cli.interruption import when_interrupted
from vi_kl.cli.options import Base, Seed
from vi_kl.core.files import require_writable


class Language(enum.StrEnum):
    """The languages that the story is told in."""

    en = "en"
    zh = "zh"


def worms(
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and the numbers.")] = Path("worms-report"),
    base: Annotated[Base, typer.Option(help="Unit of everything shown.")] = Base.bits,
    seed: Seed = 0,
    lang: Annotated[
        Language, typer.Option(help="Language of the story and its figures: en, or zh for Chinese.")
    ] = Language.en,
    quick: Annotated[bool, typer.Option("--quick", help="Two models only: about a third of the time.")] = False,
) -> None:
    """Tell the worm-teeth story: a histogram, its stand-ins, and five posteriors, each approximation checked.

    Prints the story in order and writes a folder: [bold]index.html[/] (one self-contained page), [bold]figures/[/]
    (SVG and PNG) and [bold]results.json[/].

    Example: vi-kl worms --out report --base nats --quick
    """
    console = Console()
    start = time.perf_counter()
    finished: list[str] = []
    when_interrupted(lambda: what_is_there(finished, out))
    try:
        require_writable(out)  # before JAX is imported, which takes seconds
    except OSError as error:
        raise cannot_write(console, out, error) from None
    try:
        with console.status("Importing JAX and NumPyro"):
            from vi_kl.demo.worms.run import run_story
            from vi_kl.report.figures.languages import NoFontError
        run_story(out, base.value, seed, quick, console, time.perf_counter() - start, finished.append, lang.value)
    except NoFontError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None
    except OSError as error:
        raise cannot_write(console, out, error) from None


def cannot_write(console: Console, out: Path, error: OSError) -> typer.Exit:
    """Say that the report cannot be written, and return what ends the command."""
    console.print(f"[red]Cannot write the report to {out}:[/] {error.strerror or error}. Choose another --out.")
    return typer.Exit(1)


def what_is_there(finished: list[str], out: Path) -> str:
    """Say which models an interrupted story has stored."""
    if not finished:
        return "No model was finished yet."
    return f"What was finished, {', '.join(finished)}, is in {out / 'results.json'}."
