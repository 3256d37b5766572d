"""A count of evaluations of log densities, for whoever wants to know what a piece of work takes.

    with counting_evaluations() as spent:
        ...
    print(spent.gradients, spent.densities)

The functions that evaluate a target at points from outside any program (targets/target.py) note what they evaluate.
What programs evaluate inside, such as steps of a Markov chain, is noted by whoever runs them.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator


@dataclasses.dataclass
class Evaluations:
    """So many evaluations of a log density: values with their gradients, and values alone."""

    gradients: int = 0
    densities: int = 0


class Open(threading.local):
    """The counts that are open in a thread, the innermost last."""

    def __init__(self):
        self.counts: list[Evaluations] = []


open_now = Open()


@contextlib.contextmanager
def counting_evaluations() -> Iterator[Evaluations]:
    """Count what this thread evaluates in a with block."""
    count = Evaluations()
    open_now.counts.append(count)
    try:
        yield count
    finally:
        open_now.counts.pop()


def note_evaluations(gradients: int = 0, densities: int = 0) -> None:
    """Add to every count that is open."""
    for count in open_now.counts:
        count.gradients += gradients
        count.densities += densities
