"""The README: every Python block runs, in order, and prints what the README says it prints."""

import contextlib
import io
import math
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
    """Figures shown to five digits or more are exact; other machines end a stochastic fit elsewhere."""
    if len(theirs.split("e")[0].lstrip("-0.").replace(".", "")) >= 5:
        return math.isclose(float(ours), float(theirs), rel_tol=1e-4)
    return math.isclose(float(ours), float(theirs), rel_tol=0.15, abs_tol=0.03)


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
