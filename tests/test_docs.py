"""The documentation builds strictly, with all of its code executed, and fetches nothing from elsewhere."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpyro.distributions as dist
import pytest

import vi_kl
from vi_kl.divergences.registry import CLOSED_FORMS

ROOT = Path(__file__).parent.parent
BUILDERS = ("mkdocs", "material", "markdown_exec", "mkdocstrings", "mkdocstrings_handlers")
MISSING = [name for name in BUILDERS if importlib.util.find_spec(name) is None]
RESOURCE = re.compile(
    r'<(?:script|img|iframe)[^>]*\ssrc="(https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(https?:)?//'
)


@pytest.mark.publication
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install '.[docs]'")
def test_documentation_builds_strictly_and_is_self_contained(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "agg", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    pages = {page.relative_to(tmp_path).parent.as_posix(): page.read_text() for page in tmp_path.rglob("index.html")}
    assert pages.keys() >= {".", "worms", "how_to_choose", "divergences", "kl_command", "extending", "glossary"}
    assert "vi_kl.families.Mixture" in pages["api/families"]
    for name, html in pages.items():
        assert not RESOURCE.search(html), f"{name} loads something from elsewhere"
        assert "Traceback (most recent call last)" not in html, name
    assert pages["worms"].count("<figure>") == 4
    for figure in ("0.3384", "0.4773", "0.3301", "0.3378"):  # the article's, with a digit more
        assert figure in pages["worms"]


def test_the_api_reference_has_every_public_name():
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    for name, place in vi_kl.SOURCES.items():
        assert {place, f"{place}.{name}"} & shown, f"vi_kl.{name}"
    parts = [importlib.import_module(f"vi_kl.{part}") for part in vi_kl.PARTS]
    assert {part.__name__ for part in parts if hasattr(part, "__all__")} <= shown
    for place in shown:  # what is shown exists
        module, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(place), place


def test_the_accuracy_figures_are_those_of_the_registry():
    """Every exact pair was measured, beside some that subclasses inherit, and all meet the bar."""
    figures = json.loads((ROOT / "docs" / "accuracy.json").read_text())
    concrete = {f"{p.__name__} {q.__name__}" for p, q in CLOSED_FORMS if dist.Distribution not in (p, q)}
    again = "run python tests/benchmarks/measure_accuracy.py"
    assert figures.keys() >= concrete, f"{again}: {concrete - figures.keys()}"
    for pair, row in figures.items():
        assert float(row["float32"]) <= 1e-5, pair
        assert float(row["float64"]) <= 1e-12, pair
