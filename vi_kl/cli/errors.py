"""Errors of a command: a sentence and an exit code in place of a traceback."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from vi_kl.cli.divergence.input_errors import ExpressionError

# arguments of Python in the words of errors, and the options of the command line that stand for them
IN_OPTIONS = (
    (r"estimate_kl\(p, q, .*", "Leave --method out for the value with its error."),
    (r"redraw=\['(\w+)'\]", r"--redraw \1"),
    (r"Leave out of `redraw`", "Leave out of --redraw"),
    (r" \(The number of draws is given by name: n=1000\.\)", ""),
    (r"\bby sites=\[\.\.\.\]", "by --sites"),
)


@contextlib.contextmanager
def errors_as_sentences(errors: Console, debug: bool) -> Iterator[None]:
    """Turn errors into sentences with an exit code: 2 for wrong input, 1 for failures inside."""
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # the answer itself holds what there is to warn of
            yield
    except (typer.Exit, BrokenPipeError):
        raise  # the exit code is settled; or `| head` has read enough, and typer ends quietly
    except ExpressionError as error:
        errors.print(Text(error.place.marked(errors.width)), soft_wrap=True)
        refuse(errors, error.sentence)
    except (ValueError, NotImplementedError, OSError) as error:
        if debug and error.__cause__ is not None:
            raise  # an error of the user's own code, in our words
        refuse(errors, sentence_of(error))
    except ImportError as error:  # some of NumPyro's distributions need packages that it does not install
        errors.print(Text(f"This needs a package that is not installed. {error}", style="red"))
        raise typer.Exit(1) from None
    except Exception as error:
        from vi_kl.core.errors import ViKLError  # which brings NumPy

        if debug:
            raise
        if isinstance(error, ViKLError):  # such as a fit that cannot go on
            refuse(errors, sentence_of(error))
        errors.print(Text(f"vi-kl failed here: {type(error).__name__}: {error}", style="red"))
        errors.print("This is not your mistake. --debug shows where it happened.")
        raise typer.Exit(1) from None


def sentence_of(error: Exception) -> str:
    """Return the words of an error, with the options of the command line in place of Python's arguments."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}. Choose another file."
    sentence = str(error)
    for pattern, option in IN_OPTIONS:
        sentence = re.sub(pattern, option, sentence)
    return sentence


def refuse(errors: Console, sentence: str) -> NoReturn:
    """Print a sentence about a mistake, and exit with code 2."""
    errors.print(Text(sentence, style="red"), soft_wrap=True)
    raise typer.Exit(2)
