"""Ctrl-C in Python ends what vi_kl computes at once, and the session goes on, or ends, as it should."""

import os
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.core.compilation import compiled, in_threads
from vi_kl.core.interruptible import forget_what_ended, unheeded

AT_ONCE = 1.0  # seconds; the tests' machine is busy


@compiled
def long_sum(x, steps):
    return jax.lax.fori_loop(0, steps, lambda i, x: jnp.sin(x), x)


def sum_for(seconds):
    """Compute for so many seconds, roughly."""
    return long_sum(np.ones(20), np.int32(seconds * STEPS_OF_A_SECOND))


STEPS_OF_A_SECOND = 5_000_000


@pytest.fixture
def interrupted(monkeypatch):
    """Return a function that calls another and sends SIGINT soon after; it returns the seconds until it was heard."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("Signals go to the main thread.")
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def call(function, *args, after=0.3):
        sent = []
        timer = threading.Timer(after, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT)))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            function(*args)
        return time.monotonic() - sent[0]

    yield call
    signal.signal(signal.SIGINT, previous)
    while forget_what_ended() or unheeded:
        time.sleep(0.01)


@pytest.mark.landing
def test_a_long_program_is_interrupted_and_the_next_one_runs(interrupted):
    sum_for(0.2)  # the first call has taken long enough for the next to be expected to
    assert interrupted(sum_for, 4) < AT_ONCE
    assert len(unheeded) == 1
    np.testing.assert_allclose(long_sum(np.ones(20), np.int32(1)), np.sin(1), rtol=1e-6)


def test_a_program_that_calls_python_is_interrupted(interrupted):
    def slow(x):
        time.sleep(1.5 * float(x))
        return np.asarray(x)

    @compiled
    def calls_python(x):
        return jax.pure_callback(slow, jax.ShapeDtypeStruct((), x.dtype), x)

    calls_python(np.asarray(0.1))
    assert interrupted(calls_python, np.asarray(1.0)) < AT_ONCE
    assert calls_python(np.asarray(0.0)) == 0


def test_threads_whose_results_nobody_awaits_begin_nothing_more(interrupted):
    begun = []

    def work(number):
        for step in range(50):
            begun.append((number, step))
            sum_for(0.1)

    sum_for(0.2)
    assert interrupted(lambda: list(in_threads(work, range(4), workers=2))) < AT_ONCE
    while forget_what_ended() or unheeded:
        time.sleep(0.01)
    assert {number for number, _ in begun} == {0, 1}
    assert len(begun) < 40


SCRIPT = """
import atexit, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import jax, jax.numpy as jnp, numpy as np
from vi_kl.core.compilation import compiled
atexit.register(lambda: print("put away"))

@compiled
def long_sum(x, steps):
    return jax.lax.fori_loop(0, steps, lambda i, x: jnp.sin(x), x)

long_sum(np.ones(20), np.int32(1_000_000))
print(time.time())
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    long_sum(np.ones(20), np.int32(sys.argv[1]))
except KeyboardInterrupt:
    if sys.argv[2] == "raise":
        raise
"""


@pytest.mark.parametrize(
    ("steps", "what", "code", "longest"),
    [(100 * STEPS_OF_A_SECOND, "raise", -signal.SIGINT, AT_ONCE), (STEPS_OF_A_SECOND, "go on", 0, 30)],
    ids=["by the interrupt, at once", "later, when the work is done"],
)
def test_a_process_ends(steps, what, code, longest):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(steps), what], capture_output=True, text=True)
    ended = time.time()
    begin, put_away = done.stdout.split("\n", 1)
    assert done.returncode == code, done.stderr
    assert put_away == "put away\n"  # what others have registered is run
    assert ended - float(begin) - 0.3 < longest
