"""One Ctrl-C ends a command at once, with a sentence and exit code 130, and what was finished is there."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

# a test run in the background hands on that SIGINT is ignored
LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from vi_kl.cli.__main__ import main
main()
"""
AT_ONCE = 1.0  # seconds, on a machine with nothing else to do; tests share theirs


def interrupt(arguments, seconds, folder):
    """Return (exit code, stderr, seconds until the end) of a command that gets SIGINT after so many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors, time.monotonic() - start


@pytest.mark.parametrize(
    "tries", [1, pytest.param(10, marks=pytest.mark.exhaustive)], ids=lambda number: f"{number} moments"
)
def test_the_worms_end_at_once_and_say_what_is_there(tries, tmp_path):
    moments = random.Random(3)
    for number in range(tries):
        folder = tmp_path / str(number)
        folder.mkdir()
        seconds = 2.0 if tries == 1 else moments.uniform(0.3, 40)
        code, errors, waited = interrupt(["worms", "--quick", "--out", "report"], seconds, folder)
        stored = folder / "report" / "results.json"
        if code == 0:  # it was done before
            continue
        assert code == 130, (seconds, errors)
        assert waited < 3 * AT_ONCE, (seconds, waited)
        if stored.exists():
            names = [model["name"] for model in json.loads(stored.read_text())["models"]]
            assert errors == f"Interrupted. What was finished, {', '.join(names)}, is in report/results.json.\n"
        else:
            assert errors in ("Interrupted. No model was finished yet.\n", "Interrupted. There was no answer yet.\n")


def test_a_process_that_is_deaf_to_it_remains_so(tmp_path):
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['vi-kl', '--version']\n"
    code += "from vi_kl.cli.__main__ import main\n"
    code += "try:\n    main()\nfinally:\n    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("vi-kl ")
    assert done.stdout.endswith("True\n")


LATE = """
import os, sys
sys.argv = ["vi-kl", "--version"]

class Late:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, 2)

late = Late()  # goes after Python has put its signal handlers away
main()
"""


def test_a_command_that_is_done_is_not_killed_while_python_ends():
    code = LISTENING.replace("main()", LATE)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vi-kl ")
