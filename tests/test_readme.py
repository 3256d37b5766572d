"""The README: every Python block runs, in order, and prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.mark.publication
def test_python_blocks_print_what_is_shown():
    blocks = BLOCK.findall(README)
    assert len(blocks) >= 3
    names = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), names)
        assert words(printed.getvalue()) == words(shown)
        for ours, theirs in zip(NUMBER.findall(printed.getvalue()), NUMBER.findall(shown), strict=True):
            assert agree(ours, theirs), (ours, theirs, code)


def words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


def agree(ours: str, theirs: str) -> bool:
    """Whether a figure is the one shown, to a unit of its last digit, which rounding may take either way."""
    return abs(float(ours) - float(theirs)) <= 1.001 * last_digit(theirs)


def last_digit(figure: str) -> float:
    """What one unit of the last digit that is shown is worth."""
    digits, _, exponent = figure.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def test_a_stale_figure_is_found():
    for ours, theirs in (("0.01", "0.03"), ("0.112", "0.110"), ("1.37", "1.2"), ("9840", "9842"), ("3e-15", "1e-15")):
        assert not agree(ours, theirs)
    for ours, theirs in (
        ("0.02", "0.03"),
        ("-0.112", "-0.113"),
        ("1.36", "1.37"),
        ("9841", "9840"),
        ("2e-15", "1e-15"),
    ):
        assert agree(ours, theirs)


def test_links_and_pictures_exist():
    local = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert local
    for link in local:
        assert (ROOT / link).exists(), link


def test_first_screen_has_a_picture_and_two_commands():
    first_screen = README.split("\n## ")[0]
    assert "![" in first_screen
    assert re.findall(r"^python3 -m venv .*$", first_screen, re.MULTILINE) == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/vi-kl worms",
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest',
    ]
