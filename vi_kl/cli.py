"""The `vi-kl` command."""

import enum
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Variational approximations, and how far each is from the posterior.",
)


class Base(enum.StrEnum):
    """Units of information at the surface."""

    bits = "bits"
    nats = "nats"


@app.callback()
def root() -> None:
    """Variational approximations, and how far each is from the posterior."""


@app.command()
def worms(
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and the numbers.")] = Path("worms-report"),
    base: Annotated[Base, typer.Option(help="Unit of everything shown.")] = Base.bits,
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0)] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Two models only: about a third of the time.")] = False,
) -> None:
    """The worm-teeth story: a histogram, its stand-ins, and five posteriors, each approximation checked.

    Prints the story in order and writes a folder: [bold]index.html[/] (one self-contained page), [bold]figures/[/]
    (SVG and PNG) and [bold]results.json[/].

    Example: vi-kl worms --out report --base nats --quick
    """
    console = Console()
    start = time.perf_counter()
    try:
        with console.status("Importing JAX and NumPyro"):
            from vi_kl.story.tell import tell
        tell(out, base.value, seed, quick, console, time.perf_counter() - start)
    except OSError as error:
        console.print(f"[red]Cannot write the report to {out}:[/] {error.strerror or error}. Choose another --out.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(f"[yellow]Interrupted.[/] What was finished is in {out}.")
        raise typer.Exit(130) from None


def main() -> None:
    app()


if __name__ == "__main__":
    main()
