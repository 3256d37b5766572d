"""Help in a narrow terminal: plain lines, where the frames of the usual one would cut names of options."""

from typing import Any

from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

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
