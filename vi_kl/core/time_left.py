"""The time that is left, beside a progress bar of rich."""

from rich.progress import Task, TimeRemainingColumn
from rich.text import Text


class TimeLeft(TimeRemainingColumn):
    """A column that says how long the rest will take at the speed so far, and nothing while that is not known."""

    def render(self, task: Task) -> Text:
        """Return the words for one task."""
        seconds = task.time_remaining
        if seconds is None or task.finished:
            return Text("")
        return Text(f"{int(seconds) // 60}:{int(seconds) % 60:02d} left", style="progress.remaining")
