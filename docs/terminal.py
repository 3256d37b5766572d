"""A terminal for the pages of this folder: commands of vi-kl are run when the pages are built, and shown as typed."""

import os
import shlex
import tempfile
import textwrap
from pathlib import Path

from typer.testing import CliRunner

from vi_kl.cli.main import app

HOME = "/home/you"  # what the folder is called in what is shown
WIDTH = 80  # characters


class Terminal:
    """A terminal in an empty folder of its own.

    Attributes:
        folder: the folder.
    """

    def __init__(self):
        self.kept = tempfile.TemporaryDirectory()  # which is removed with the terminal
        self.folder = Path(self.kept.name)

    def file(self, name, content):
        """Write a file into the folder."""
        Path(self.folder, name).write_text(content)

    def shell(self, line, shown=None):
        """Return a line that begins with vi-kl, and what it writes: to standard error if it fails.

        Args:
            line: the line.
            shown: the number of lines of output to keep; None for all.
        """
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            result = CliRunner().invoke(app, shlex.split(line)[1:], env={"COLUMNS": str(WIDTH)})
        finally:
            os.chdir(before)
        if isinstance(result.exception, Exception):
            raise result.exception
        said = result.stdout if result.exit_code in (0, 1) else result.stderr
        said = said.replace(os.path.realpath(self.folder), HOME).rstrip()
        lines = [
            part for each in said.splitlines() for part in textwrap.wrap(each, WIDTH, drop_whitespace=False) or [""]
        ]
        typed = "$ " + (line if len(line) < WIDTH else line.replace(" --", " \\\n    --"))
        return "\n".join([typed, *lines[:shown], *(["..."] if shown and len(lines) > shown else [])])
