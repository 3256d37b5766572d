"""Progress: told to whom it was promised, and shown where nobody was but somebody waits.

The argument `progress` of vi_kl's functions is

- a function: it is called as `progress(fraction_done, sentence)`;
- None, the default: what takes more than two seconds is shown on a terminal and in a notebook;
- True: it is shown at once, and in a log as lines;
- False: nothing is shown.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from vi_kl.core.annotations import Progress, ProgressLike

PATIENCE = 2.0  # seconds before anything is shown that was not asked for
SELDOM = 10.0  # seconds between two lines in a log
OFTEN = 0.2  # seconds between two states of a line in a notebook
WIDTH = 79
NARROW = 60  # a terminal with fewer columns shows no sentence beside the bar

showing = threading.Lock()  # held by the outermost of the functions that report


class Display(Protocol):
    """A place where progress is shown."""

    def show(self, fraction: float, sentence: str) -> None:
        """Show a state."""

    def close(self) -> None:
        """Take away what is not to stay."""


@contextlib.contextmanager
def reporting(progress: ProgressLike, title: str) -> Iterator[Progress]:
    """Give a function to report progress to, in a with block: `report(fraction_done, sentence)`.

    What is done inside the block, by other functions of vi_kl, shows nothing of its own.

    Args:
        progress: a function, True, False or None, as above.
        title: what is in progress, in a word or two.

    Raises:
        TypeError: `progress` is something else.
    """
    if not (callable(progress) or progress in (None, True, False)):
        raise TypeError(f"progress must be a function, True, False or None, not a {type(progress).__name__}.")
    is_outermost = showing.acquire(blocking=False)
    make = display_for(asked=progress is True) if is_outermost and progress is not False else None
    shown = None if callable(progress) or make is None else Shown(make, title, 0.0 if progress else PATIENCE)
    try:
        if callable(progress):
            yield progress
        else:
            yield shown.report if shown else unheard
    finally:
        if shown:
            shown.close()
        if is_outermost:
            showing.release()


def unheard(fraction: float, sentence: str) -> None:
    """Ignore the progress of what nobody asked to hear of."""


def part_of(report: Progress, start: float, end: float) -> Progress:
    """Return a function to report a part's progress to, which is the whole's between two fractions."""
    return lambda fraction, sentence: report(start + (end - start) * fraction, sentence)


def display_for(*, asked: bool) -> Callable[[str], Display] | None:
    """Return the kind of display that suits where the process runs; None where nothing is shown unless it is asked."""
    if "ipykernel" in sys.modules:
        return Line
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar
    return Log if asked else None


class Shown:
    """Progress that is shown once some seconds have passed, if it is not over by then."""

    def __init__(self, make: Callable[[str], Display], title: str, seconds: float):
        self.make, self.title, self.display = make, title, None
        self.state: tuple[float, str] = (0.0, "")
        self.lock, self.closed = threading.Lock(), False
        self.timer = threading.Timer(seconds, self.open)
        self.timer.daemon = True
        self.timer.start()

    def open(self) -> None:
        with self.lock:
            if not self.closed:
                self.display = self.make(self.title)
                self.display.show(*self.state)

    def report(self, fraction: float, sentence: str) -> None:
        with self.lock:
            self.state = fraction, sentence
            if self.display is not None:
                self.display.show(fraction, sentence)

    def close(self) -> None:
        self.timer.cancel()
        with self.lock:
            self.closed = True
            if self.display is not None:
                self.display.close()


class Bar:
    """A bar on a terminal, which goes when it is done."""

    def __init__(self, title: str):
        from rich.console import Console  # which is slow to import, and needed on a terminal only
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        from vi_kl.core.time_left import TimeLeft

        console = Console(stderr=True)
        is_wide = console.width >= NARROW  # else there is no room for what is being done
        self.bar = Progress(
            TextColumn("{task.fields[title]}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            *([TimeLeft(table_column=Column(no_wrap=True))] if is_wide else []),
            *([TextColumn("[dim]{task.description}", table_column=Column(overflow="fold"))] if is_wide else []),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("", total=1.0, title=title)
        self.bar.start()

    def show(self, fraction: float, sentence: str) -> None:
        self.bar.update(self.task, completed=fraction, description=sentence)

    def close(self) -> None:
        self.bar.stop()


class Line:
    """One line in the output of a notebook's cell, which goes when it is done."""

    def __init__(self, title: str):
        self.title, self.start, self.last = title, time.monotonic(), -OFTEN

    def show(self, fraction: float, sentence: str) -> None:
        now = time.monotonic()
        if now - self.last >= OFTEN:
            self.last = now
            self.write(in_words(self.title, fraction, now - self.start, sentence)[:WIDTH])

    def write(self, words: str) -> None:
        sys.stdout.write(f"\r{words:<{WIDTH}}")
        sys.stdout.flush()

    def close(self) -> None:
        self.write("")
        self.write("\r")


class Log:
    """Lines in a log, one in ten seconds."""

    def __init__(self, title: str):
        self.title, self.start, self.last = title, time.monotonic(), -SELDOM

    def show(self, fraction: float, sentence: str) -> None:
        now = time.monotonic()
        if now - self.last >= SELDOM:
            self.last = now
            print(in_words(self.title, fraction, now - self.start, sentence), file=sys.stderr, flush=True)

    def close(self) -> None:
        print(f"{self.title}: done in {time.monotonic() - self.start:.0f} s", file=sys.stderr, flush=True)


def in_words(title: str, fraction: float, seconds: float, sentence: str) -> str:
    """Return a state as a line, such as "full_rank:  40%, 12 s. Step 400: ..."."""
    return f"{title}: {fraction:4.0%}, {seconds:.0f} s. {sentence}"
