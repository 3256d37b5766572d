"""`vi-kl kl`: a divergence between two distributions written as expressions."""

from typing import Annotated

import typer
from rich.console import Console

from vi_kl.cli.divergence import help_text
from vi_kl.cli.divergence.spinner import delayed_spinner
from vi_kl.cli.divergence.syntax import check_written
from vi_kl.cli.errors import errors_as_sentences, refuse
from vi_kl.cli.options import Base, Seed
from vi_kl.core.suggestions import nearest

MOST_DRAWS = 100_000_000


def kl(
    p: Annotated[str | None, typer.Argument(help="The reference, such as 'Gamma(2, 3)'.", show_default=False)] = None,
    q: Annotated[str | None, typer.Argument(help="What stands in for it.", show_default=False)] = None,
    base: Annotated[Base, typer.Option(help="Unit of the divergence.")] = Base.nats,
    method: Annotated[str, typer.Option(help="How to find it: see below.")] = "auto",
    draws: Annotated[
        int | None, typer.Option(help="Draws, for the methods that draw.", min=2, show_default=False)
    ] = None,
    seed: Seed = 0,
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
    with errors_as_sentences(errors, debug):
        if not pairs:
            check_written(p, q, normalize, method)
        with delayed_spinner(errors, "Working"):
            from vi_kl.cli.divergence import run  # JAX, once the arguments are known to be well-formed

            if pairs:
                result = run.look_up(p)
            else:
                options = {"unit": base.value, "method": method, "num_draws": draws, "seed": seed}
                result = run.answer(p, q, both=both, normalize=normalize, **options)
        run.show(result, as_json, output)


def known_method(method: str) -> str:
    """Return the method's name in Python, in which hyphens and underscores are the same; refuse unknown names."""
    name = method.lower().replace("_", "-")
    if name not in help_text.METHODS:
        meant = nearest(name, help_text.METHODS)
        hint = f" Did you mean {meant}?" if meant else ""
        refuse(Console(stderr=True), f"There is no method {method}.{hint} Known are {', '.join(help_text.METHODS)}.")
    return name.replace("-", "_")


def check_given(p: str | None, q: str | None, pairs: bool, draws: int | None) -> None:
    """Refuse anything but two expressions, or one at most with --pairs; and more draws than fit into memory."""
    errors = Console(stderr=True)
    if pairs and q is not None:
        refuse(errors, "--pairs takes one distribution at most, the one whose pairs it lists.")
    if not pairs and q is None:
        lacking = "q, the second distribution, is missing" if p is not None else "Two distributions are needed"
        refuse(errors, f'{lacking}. An example: vi-kl kl "Gamma(2, 3)" "LogNormal(0, 1)", quotes included.')
    if draws is not None and draws > MOST_DRAWS:
        refuse(errors, f"--draws {draws:,} is more than memory holds; at most {MOST_DRAWS:,} are allowed.")
