"""Commands as typer has them, with plain help in a narrow terminal, and a hint where a list lacks its commas."""

import itertools
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

UsageError: Any = typer.BadParameter.__base__  # of click, or of typer's own copy of it
LISTS = ("--methods", "--sites", "--redraw")  # options that take names with commas between them
NARROW = 70  # columns below which frames leave too little room


class HelpForAnyWidth:
    """A command, or a group of them, whose help has frames where there is room for them."""

    help: str | None
    epilog: str | None
    rich_markup_mode: Any

    def format_help(self, ctx, formatter) -> None:
        """Write the help."""
        width = Console().width
        if width >= NARROW:
            super().format_help(ctx, formatter)  # type: ignore[misc]
            return
        written = self.help, self.epilog, self.rich_markup_mode
        self.help, self.epilog = (text and without_markup(text) for text in written[:2])
        self.rich_markup_mode, formatter.width = None, width
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        finally:
            self.help, self.epilog, self.rich_markup_mode = written


class Command(HelpForAnyWidth, TyperCommand):
    """A command of vi-kl."""

    def parse_args(self, ctx, args):
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.message += missing_commas(error.message, given)
            raise


def missing_commas(message: str, given: list[str]) -> str:
    """Return a hint for words that are too many because a list was written with spaces; "" if there is no list."""
    lists = [place for place, word in enumerate(given) if word in LISTS]
    if not message.startswith("Got unexpected extra argument") or not lists:
        return ""
    option, *words = given[lists[-1] :]
    names = itertools.takewhile(lambda word: not word.startswith("-"), words)
    return f". The names in {option} have commas between them, and no spaces: {option} {','.join(names)}"


class Group(HelpForAnyWidth, TyperGroup):
    """The command that has the others."""

    def format_commands(self, ctx, formatter) -> None:
        """Write what each command does, as a whole sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, without_markup(command.help).split("\n\n")[0]) for name, command in commands])


def without_markup(text: str) -> str:
    """Return a text without rich's markup, and with the backspaces that keep its lines apart."""
    return "\b".join(Text.from_markup(part).plain for part in text.split("\b"))
