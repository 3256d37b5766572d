"""The `vi-kl` command: its subcommands, each in a file of its own that imports JAX only once it runs."""

import importlib.metadata
from typing import Annotated

import typer

from vi_kl.cli.check import check
from vi_kl.cli.compare import compare
from vi_kl.cli.divergence import help_text
from vi_kl.cli.fit import EPILOG, fit
from vi_kl.cli.kl import kl
from vi_kl.cli.models import models
from vi_kl.cli.narrow_help import Command, Group
from vi_kl.cli.predict import predict
from vi_kl.cli.self_test import self_test
from vi_kl.cli.show import show
from vi_kl.cli.worms import worms

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="Variational approximations, and how far each is from the posterior.",
)


def print_version(wanted: bool) -> None:
    """Print the version and exit, if that is wanted."""
    if wanted:
        print(f"vi-kl {importlib.metadata.version('vi_kl')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Show the help if no subcommand is given."""


app.command(cls=Command, epilog=EPILOG)(fit)
for command in (check, compare, predict, show, models, worms):
    app.command(cls=Command)(command)
app.command(cls=Command, help=help_text.HELP, epilog=help_text.EPILOG)(kl)
app.command("self-test", cls=Command)(self_test)
