"""The documentation builds strictly, with all of its code executed, and fetches nothing from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILDERS = ("mkdocs", "material", "markdown_exec")
MISSING = [name for name in BUILDERS if importlib.util.find_spec(name) is None]
RESOURCE = re.compile(
    r'<(?:script|img|iframe)[^>]*\ssrc="(https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(https?:)?//'
)


@pytest.mark.slow
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
    assert pages.keys() >= {".", "worms", "how_to_choose", "extending", "glossary"}
    for name, html in pages.items():
        assert not RESOURCE.search(html), f"{name} loads something from elsewhere"
        assert "Traceback (most recent call last)" not in html, name
    assert pages["worms"].count("<figure>") == 4
    for figure in ("0.3384", "0.4773", "0.3301", "0.3378"):  # the article's, with a digit more
        assert figure in pages["worms"]
