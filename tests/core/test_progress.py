"""Progress is told to whoever asked, shown to whoever waits at a terminal or a notebook, and to nobody else."""

import io
import sys
import types

import jax
import numpy as np
import pytest
from programs import exponential_rate
from rich.progress import Progress as progress_of_rich

import vi_kl
from vi_kl.core import progress as module
from vi_kl.core.progress import Bar, Line, Log, display_for, part_of, reporting, showing
from vi_kl.core.time_left import TimeLeft
from vi_kl.targets import Target
from vi_kl.workflows.detection import detection_table
from vi_kl.workflows.planted_failures import HEALTHY

RATE = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def at_a_terminal(monkeypatch, patience=0.0) -> Terminal:
    """Put a terminal in stderr's place; called by the test itself, since pytest puts its own there before it."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(module, "PATIENCE", patience)
    return sys.stderr


def wait_for_display(report):
    """Report until the timer, whose time is over, has opened the display."""
    for number in range(2000):
        report(0.4, f"state {number}")
        if report.__self__.display is not None:
            return report.__self__.display
        report.__self__.timer.join(0.01)
    raise AssertionError("nothing was shown")


def test_a_terminal_has_a_bar_which_goes(monkeypatch):
    at_a_terminal(monkeypatch)
    with reporting(None, "work") as report:
        display = wait_for_display(report)
        report(0.5, "half of it")
        assert isinstance(display, Bar)
        assert display.bar.tasks[0].completed == 0.5
        assert display.bar.tasks[0].description == "half of it"
        assert any(isinstance(column, TimeLeft) for column in display.bar.columns)
    assert not display.bar.live.is_started
    assert not showing.locked()


def test_the_time_left_is_in_words_where_it_is_known():
    now = 0.0
    bar = progress_of_rich(get_time=lambda: now, auto_refresh=False)
    bar.add_task("work", total=1.0)
    task = bar.tasks[0]
    assert TimeLeft().render(task).plain == ""
    for now in (1.0, 2.0):  # noqa: B007  (read by the bar's clock)
        bar.update(task.id, advance=0.01)
    assert TimeLeft().render(task).plain == "1:38 left"  # 98 more steps, a second each
    bar.update(task.id, completed=1.0)
    assert TimeLeft().render(task).plain == ""


def test_what_is_over_in_time_shows_nothing(monkeypatch):
    terminal = at_a_terminal(monkeypatch, patience=60.0)
    with reporting(None, "work") as report:
        report(1.0, "done")
    assert terminal.getvalue() == ""


def test_a_log_has_lines_if_it_is_asked_for_them(capsys, monkeypatch):
    monkeypatch.setattr(module, "SELDOM", 0.0)
    assert display_for(asked=False) is None
    with reporting(True, "work") as report:
        assert isinstance(wait_for_display(report), Log)
        report(0.5, "half of it")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2] == "work:  50%, 0 s. half of it"
    assert lines[-1] == "work: done in 0 s"


def test_a_notebook_has_a_line_which_goes(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(module, "OFTEN", 0.0)
    with reporting(None, "work") as report:
        assert isinstance(wait_for_display(report), Line)
        report(0.5, "half of it, with a sentence that is longer than a line of a notebook is allowed to be here")
    states = capsys.readouterr().out.split("\r")
    assert "work:  50%, 0 s. half of it" in states[-4]
    assert max(map(len, states)) == module.WIDTH
    assert states[-3].strip() == ""


def test_nobody_else_is_told_and_errors_pass(capsys):
    for silent in (None, False):
        with reporting(silent, "work") as report:
            report(0.5, "half of it")
    with pytest.raises(ZeroDivisionError), reporting(True, "work"):
        raise ZeroDivisionError
    assert not showing.locked()
    with pytest.raises(TypeError, match="progress must be a function, True, False or None, not a str"):
        vi_kl.fit(RATE, "laplace", key=0, progress="yes")
    assert "half" not in capsys.readouterr().err


def test_parts_of_the_whole_show_nothing_of_their_own(monkeypatch):
    terminal, told = at_a_terminal(monkeypatch), []
    with reporting(lambda *state: told.append(state), "whole") as report:
        part_of(report, 0.2, 0.6)(0.5, "in the middle")
        with reporting(None, "part") as inner:
            inner(1.0, "done")
    assert told == [(pytest.approx(0.4), "in the middle")]
    assert terminal.getvalue() == ""


FUNCTIONS = {
    "fit": lambda told: vi_kl.fit(RATE, "laplace", key=0, progress=told),
    "default fit": lambda told: vi_kl.fit(RATE, key=0, progress=told),
    "check": lambda told: vi_kl.check(vi_kl.fit(RATE, "laplace", key=0), key=0, progress=told),
    "explain_gap": lambda told: vi_kl.explain_gap(vi_kl.fit(RATE, "laplace", key=0), key=0, progress=told),
    "compare": lambda told: vi_kl.compare(RATE, ["laplace", "mean_field"], key=0, progress=told),
    "detect": lambda told: detection_table(1, [HEALTHY], progress=told),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_reports_in_one_way(name):
    told = []
    FUNCTIONS[name](lambda fraction, sentence: told.append((fraction, sentence)))
    fractions = [fraction for fraction, _ in told]
    assert all(isinstance(sentence, str) and sentence for _, sentence in told)
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert jax.config.jax_enable_x64 is False
