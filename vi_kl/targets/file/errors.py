"""Errors of files that people write: what is wrong with which, and the mend."""

from collections.abc import Iterable

from vi_kl.core.errors import ViKLError

MOST_NAMES = 30  # that a message lists


class FileError(ViKLError, ValueError):
    """An error: a model or its data cannot be read from a file; the message names the file and the mend."""


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence, cut where it is long."""
    names = list(names)
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more if names else "none"
