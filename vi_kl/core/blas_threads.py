"""One thread for BLAS while vi_kl computes.

Matrices here are small, and a BLAS that has several threads lets them wait for the next one by spinning: of one fit in
ten dimensions they took half of all CPU seconds, and on a machine that had other work it took ten times as long. The
caller's own number of threads is back as soon as the last of vi_kl's functions returns.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable)


class OneThread:
    """The limit of one thread, which holds from the first entry to the last exit, in whatever order they come.

    The number of threads belongs to the process, and functions that run side by side would give one another's limit
    back for the caller's number.
    """

    def __init__(self):
        self.lock, self.entries = threading.Lock(), 0
        self.limiter: Any = None

    @functools.cached_property
    def controller(self) -> Any:
        """What sets the number of threads of the libraries that are loaded."""
        import scipy.linalg  # noqa: F401  it brings a BLAS of its own, which has to be found
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def __enter__(self):
        with self.lock:
            self.entries += 1
            if self.entries == 1:
                self.limiter = self.controller.limit(limits=1, user_api="blas")

    def __exit__(self, *exception):
        with self.lock:
            self.entries -= 1
            if self.entries == 0:
                self.limiter.restore_original_limits()


one_thread = OneThread()


def with_one_blas_thread(function: F) -> F:
    """Run `function` with one thread for BLAS."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with one_thread:
            return function(*args, **kwargs)

    return cast(F, wrapped)
