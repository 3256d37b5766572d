"""Ctrl-C: it ends a command at once, whatever is being computed.

Python raises KeyboardInterrupt only between two instructions of its main thread: not while XLA compiles, and not past a
library that catches it while it is being imported. Here the signal wakes a thread, which says what was finished and
ends the process. Nothing is lost by that, since files are written whole or not at all.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

EXIT_CODE = 130  # by convention, 128 + SIGINT
SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it

sentences: list[Callable[[], str]] = [lambda: "There was no answer yet."]


def when_interrupted(sentence: Callable[[], str]) -> None:
    """Set what is said after "Interrupted."; the function is called at the moment of the interruption."""
    sentences.append(sentence)


def end_when_interrupted() -> None:
    """Make Ctrl-C end this process. A process that was started in the background, and is deaf to it, remains so."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, lambda number, frame: None)  # else Python would raise KeyboardInterrupt as well
    written, read = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=end_at_the_signal, args=(written, read), daemon=True).start()


def ignore_interruptions() -> None:
    """Ignore Ctrl-C from here on: all is done, and Python, as it ends, would let the signal kill the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_at_the_signal(written: socket.socket, read: socket.socket) -> None:
    """Wait until the number of the signal comes in, and end the process; `written` is given to keep it open."""
    while read.recv(1) != bytes([signal.SIGINT]):
        pass
    try:
        words = f"Interrupted. {sentences[-1]()}"
        if sys.stderr.isatty():
            words = f"\r{SHOW_CURSOR}\x1b[K\x1b[33m{words}\x1b[0m"
        # not by `print`, whose lock the main thread may hold
        os.write(2, f"{words}\n".encode())
    finally:
        os._exit(EXIT_CODE)
