"""The documentation as tests look at it: built once for all workers of a run, and handed out by a server of its own."""

import contextlib
import fcntl
import functools
import http.server
import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILDERS = ("mkdocs", "material", "markdown_exec", "mkdocstrings", "mkdocstrings_handlers")
MISSING = [name for name in BUILDERS if importlib.util.find_spec(name) is None]
needs_builders = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; pip install '.[docs]'")
PLAYGROUND = """\
INHERIT: {root}/mkdocs.yml
docs_dir: {docs}
strict: false
plugins: []
extra: {{alternate: []}}
hooks: ["{root}/docs/formulas.py"]
nav: [{pages}]
"""


def build_site(folder: Path, settings: Path = ROOT / "mkdocs.yml", strict: bool = True) -> Path:
    """Build the documentation into a folder, by the settings, and return the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *(["--strict"] if strict else []), "-f", settings, "-d", folder],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "agg", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=1800,  # a build that hangs; on two busy cores it took twenty minutes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def module_of_docs(name: str):
    """Return a module of docs/, which MkDocs loads as a hook and which imports others there."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "docs"))


def built_once(tmp_path_factory) -> Path:
    """Return the folder of the whole site, which the first worker of a run that asks for it builds strictly."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    site, said = shared / "site", shared / "site.built"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            build_site(site)
            said.touch()
    return site


def build_playground(folder: Path) -> Path:
    """Build the pages of the playground alone, which takes a second, and return the folder of the site."""
    pages = sorted(page.name for page in (ROOT / "docs" / "playground").glob("*.md"))
    docs = folder / "docs"
    docs.mkdir()
    for name in ("playground", "style.css"):
        (docs / name).symlink_to(ROOT / "docs" / name)
    settings = folder / "mkdocs.yml"
    nav = ", ".join(f"playground/{name}" for name in pages)
    settings.write_text(PLAYGROUND.format(root=ROOT, docs=docs, pages=nav))
    return build_site(folder / "site", settings, strict=False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Hand out the files of a folder on a free port of this machine; yields the address, which ends in a slash."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
