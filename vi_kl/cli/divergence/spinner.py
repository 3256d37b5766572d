"""A spinner for what takes long."""

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console

SECONDS = 2.0


@contextlib.contextmanager
def delayed_spinner(console: Console, words: str) -> Iterator[None]:
    """Show a spinner on a terminal once the block has taken two seconds, and take it away at its end."""
    if not console.is_terminal:
        yield
        return
    status = console.status(words)
    timer = threading.Timer(SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be starting the spinner just now
        status.stop()
