"""The `vi-kl` command."""

import contextlib
import enum
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from vi_kl.cli.divergence import help_text as manual
from vi_kl.cli.divergence.input_errors import ExpressionError, nearest
from vi_kl.cli.divergence.spinner import patience

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Variational approximations, and how far each is from the posterior.",
)


MOST_DRAWS = 100_000_000
LARGEST_SEED = 2**63 - 1  # of JAX's keys


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
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0, max=LARGEST_SEED)] = 0,
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
            from vi_kl.demo.worms.run import tell
        tell(out, base.value, seed, quick, console, time.perf_counter() - start)
    except OSError as error:
        console.print(f"[red]Cannot write the report to {out}:[/] {error.strerror or error}. Choose another --out.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(f"[yellow]Interrupted.[/] What was finished is in {out}.")
        raise typer.Exit(130) from None


@app.command(help=manual.HELP, epilog=manual.EPILOG)
def kl(
    p: Annotated[str | None, typer.Argument(help="The reference, such as 'Gamma(2, 3)'.", show_default=False)] = None,
    q: Annotated[str | None, typer.Argument(help="What stands in for it.", show_default=False)] = None,
    base: Annotated[Base, typer.Option(help="Unit of the divergence.")] = Base.nats,
    method: Annotated[str, typer.Option(help="How to find it: see below.")] = "auto",
    draws: Annotated[
        int | None, typer.Option(help="Draws, for the methods that draw.", min=2, show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0, max=LARGEST_SEED)] = 0,
    both: Annotated[bool, typer.Option("--both", help="KL(q || p) too.")] = False,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Bare lists are counts: divide them by their sums.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all digits.")] = False,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="List the pairs with an exact divergence, all or those with P.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error inside vi-kl.")] = False,
) -> None:
    method = known_method(method)
    check_given(p, q, pairs, draws)
    output, errors = Console(), Console(stderr=True)
    with in_sentences(errors, debug):
        with patience(errors, "Working"):
            from vi_kl.cli.divergence import run  # JAX, once the arguments are known to be well-formed

            if pairs:
                result = run.look_up(p)
            else:
                options = {"unit": base.value, "method": method, "num_draws": draws, "seed": seed}
                result = run.answer(p, q, both=both, normalize=normalize, **options)
        run.show(result, as_json, output)


@app.command()
def check(
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Plant known failures, and count which diagnostic sees which.")
    ] = False,
    repetitions: Annotated[int, typer.Option(help="Of each failure, each from another seed.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Hold the diagnostics themselves to the truth: which of them sees which failure, and how often.

    A q that misses a mode, is too narrow, too wide, without correlation, too thin in the tail, stopped early, or
    wrong in its density, reference runs that are stuck or unconverged, and a healthy q, each checked with and without
    its truth. About six seconds for each repetition of all of them.

    Your own fits are checked in Python: [bold]vi_kl.check(fit, key=key)[/].

    Example: vi-kl check --self-test --repetitions 50
    """
    output, errors = Console(), Console(stderr=True)
    if not self_test:
        refuse(errors, "Say --self-test. A fit of yours is checked in Python: vi_kl.check(fit, key=key).")
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


@contextlib.contextmanager
def in_sentences(errors: Console, debug: bool) -> Iterator[None]:
    """Errors as sentences with an exit code: 2 for the person's mistakes, 1 for failures inside, 130 for Ctrl-C."""
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # the answer says itself what is to be said about it
            yield
    except KeyboardInterrupt:
        errors.print("[yellow]Interrupted[/] before there was an answer.")
        raise typer.Exit(130) from None
    except ExpressionError as error:
        errors.print(Text(error.place.marked(errors.width)), soft_wrap=True)
        refuse(errors, error.sentence)
    except (ValueError, NotImplementedError) as error:
        refuse(errors, re.sub(r"estimate_kl\(p, q, .*", "Leave --method out for the value with its error.", str(error)))
    except ImportError as error:  # some of NumPyro's distributions need packages that it does not install
        errors.print(Text(f"This needs a package that is not installed. {error}", style="red"))
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise  # `| head` has read enough; typer ends quietly
    except Exception as error:
        if debug:
            raise
        errors.print(Text(f"vi-kl failed here: {type(error).__name__}: {error}", style="red"))
        errors.print("This is not your mistake. --debug shows where it happened.")
        raise typer.Exit(1) from None


def known_method(method: str) -> str:
    """The method by its name in Python; hyphens and underscores are the same."""
    name = method.lower().replace("_", "-")
    if name not in manual.METHODS:
        meant = nearest(name, manual.METHODS)
        hint = f" Did you mean {meant}?" if meant else ""
        refuse(Console(stderr=True), f"There is no method {method}.{hint} Known are {', '.join(manual.METHODS)}.")
    return name.replace("-", "_")


def check_given(p: str | None, q: str | None, pairs: bool, draws: int | None) -> None:
    """Two expressions, or one at most with --pairs; draws that fit into memory."""
    errors = Console(stderr=True)
    if pairs and q is not None:
        refuse(errors, "--pairs takes one distribution at most, the one whose pairs it lists.")
    if not pairs and q is None:
        lacking = "q, the second distribution, is missing" if p is not None else "Two distributions are needed"
        refuse(errors, f'{lacking}. An example: vi-kl kl "Gamma(2, 3)" "LogNormal(0, 1)", quotes included.')
    if draws is not None and draws > MOST_DRAWS:
        refuse(errors, f"--draws {draws:,} is more than memory holds; at most {MOST_DRAWS:,} are allowed.")


def refuse(errors: Console, sentence: str) -> NoReturn:
    errors.print(Text(sentence, style="red"))
    raise typer.Exit(2)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
