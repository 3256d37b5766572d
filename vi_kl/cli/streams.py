"""What a command says, and where: results on standard output, everything else on stderr.

While a command runs, whatever others print (a model file, a library) goes to stderr, so that `--json` has one object on
standard output and nothing else.
"""

import contextlib
import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from vi_kl.cli.divergence.spinner import delayed_spinner
from vi_kl.cli.errors import errors_as_sentences
from vi_kl.cli.wording import in_commands


@dataclasses.dataclass(frozen=True)
class Streams:
    """The two streams of a command.

    Attributes:
        output: the stream of results.
        errors: the stream of remarks, progress and errors.
        as_json: whether results are one JSON object, and nothing is shown for people.
        quiet: whether there are no remarks and no progress.
        warnings: what is suspicious about the model, as it was found so far, for the results of a command.
    """

    output: Console
    errors: Console
    as_json: bool = False
    quiet: bool = False
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def progress(self) -> bool | None:
        """What vi_kl's functions take as `progress`: bars on a terminal, lines in a log, nothing if it is quiet."""
        if self.quiet:
            return False
        return None if self.errors.is_terminal else True

    def remark(self, sentence: str) -> None:
        """Say something on stderr that is no error."""
        if not self.quiet:
            self.errors.print(Text(in_commands(sentence), style="dim"), soft_wrap=True)

    @contextlib.contextmanager
    def warnings_as_remarks(self) -> Iterator[None]:
        """Say what is suspicious about a model, as vi_kl warns of it in a with block, once; other warnings pass."""
        from vi_kl.core.errors import ModelWarning  # which brings NumPy

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for each in caught:
            if issubclass(each.category, ModelWarning):
                words = in_commands(str(each.message))
                if words not in self.warnings:
                    self.warnings.append(words)
                    self.remark(words)
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Show on a terminal, in a with block, that what takes seconds is being imported."""
        return contextlib.nullcontext() if self.quiet else delayed_spinner(self.errors, "Importing JAX and NumPyro")

    def show(self, *parts: Any) -> None:
        """Show results to people; words wrap at words."""
        if not self.as_json:
            for part in parts:
                self.output.print(Text(in_commands(part)) if isinstance(part, str) else part)

    def write(self, record: dict[str, Any]) -> None:
        """Write results as one JSON object, if that is wanted."""
        if self.as_json:
            text = json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
            self.output.file.write(f"{text}\n")


@contextlib.contextmanager
def streams(*, as_json: bool, quiet: bool, debug: bool) -> Iterator[Streams]:
    """Run a command's work in a with block: errors become sentences with an exit code, prints go to stderr."""
    found = Streams(Console(file=sys.stdout), Console(file=sys.stderr), as_json, quiet)
    with errors_as_sentences(found.errors, debug), contextlib.redirect_stdout(sys.stderr):
        yield found
