"""The `vi-kl` command: its subcommands, each in a file of its own that imports JAX only once it runs."""

import typer

from vi_kl.cli.divergence import help_text
from vi_kl.cli.kl import kl
from vi_kl.cli.self_test import self_test
from vi_kl.cli.worms import worms

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Variational approximations, and how far each is from the posterior.",
)


@app.callback()
def root() -> None:
    """Show the help if no subcommand is given."""


app.command()(worms)
app.command(help=help_text.HELP, epilog=help_text.EPILOG)(kl)
app.command("self-test")(self_test)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
