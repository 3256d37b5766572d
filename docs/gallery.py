"""The gallery: each script of examples/ is run while the documentation is built, and shown with its picture.

MkDocs loads this file as a hook. It adds a page for each example, with what its cells printed, the page's pictures, and
the example as a notebook. The examples run one after the other beside the build, in a process each, as this same file:

    python docs/gallery.py examples/05_two_directions.py     # writes what its cells print, as JSON
"""

import contextlib
import functools
import html
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from notebooks import as_notebook

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PLACE = "<!-- examples -->"  # of the cards, on the gallery's page
RESULT = "cells.json"


class Cell(NamedTuple):
    """A cell of a script in the percent format: its kind, its text, and the line of the script where it begins."""

    kind: str
    text: str
    line: int


class Shown(NamedTuple):
    """What an example printed, cell by cell, and the pictures that it wrote, {file name: content}."""

    printed: list[str]
    pictures: dict[str, bytes]


def cells_of(script: str) -> list[Cell]:
    """Return the cells of a script, those of text without their comment signs."""
    found = []
    marks = list(re.finditer(r"^# %%( \[markdown\])?\n", script, re.MULTILINE))
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        text = script[mark.end() : after.start() if after else None]
        if mark[1]:
            found.append(Cell("markdown", re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip(), 0))
        else:
            found.append(Cell("code", text.strip("\n"), script[: mark.end()].count("\n")))
    return found


def title_of(cells: list[Cell]) -> tuple[str, str]:
    """Return an example's title and its first paragraph."""
    title, _, rest = cells[0].text.partition("\n")
    return title.removeprefix("# "), rest.strip().split("\n\n")[0].replace("\n", " ")


# ---- run one example, in a process of its own -----------------------------------------------------------------------


def run_here(script: Path) -> None:
    """Run the cells of a script in this process, and write what each printed into the working folder."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    printed = []
    for cell in cells_of(script.read_text()):
        out = io.StringIO()
        if cell.kind == "code":
            # the lines keep their numbers, so that errors and the source of functions are the script's
            code = compile("\n" * cell.line + cell.text, str(script), "exec")
            with contextlib.redirect_stdout(out):
                exec(code, names)
        printed.append(out.getvalue())
    Path(RESULT).write_text(json.dumps(printed))


def run_apart(script: Path) -> Shown:
    """Run a script in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, Path(__file__).resolve(), script],
            cwd=folder,
            env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{script.name} fails:\n{done.stderr}")
        pictures = {picture.name: picture.read_bytes() for picture in sorted(Path(folder).glob("*.png"))}
        if not pictures:
            raise RuntimeError(f"{script.name} writes no picture: let it save one as a PNG, for the gallery.")
        return Shown(json.loads(Path(folder, RESULT).read_text()), pictures)


# ---- pages of them, as MkDocs asks for them -------------------------------------------------------------------------


@functools.cache
def running() -> dict[str, "Future[Shown]"]:
    """Start all examples, one after the other beside the build, and return what will be known of each."""
    pool = ThreadPoolExecutor(1)
    started = {script.stem: pool.submit(run_apart, script) for script in EXAMPLES}
    pool.shutdown(wait=False)
    return started


def page_of(script: Path, shown: Shown) -> str:
    """Return an example as a page: its text, its code, what that printed, its pictures and its notebook."""
    name, made = script.stem, []
    for cell, printed in zip(cells_of(script.read_text()), shown.printed, strict=True):
        if cell.kind == "markdown":
            made.append(cell.text)
            continue
        made.append(f"```python\n{cell.text}\n```")
        # pictures are shown where the script says that it has written them
        said = [line for line in printed.splitlines() if line.removesuffix(" written") not in shown.pictures]
        if said:
            widest = max(map(len, said))
            made.append(f"```{'text' if widest > 100 else 'output'}\n" + "\n".join(said) + "\n```")
        for picture in shown.pictures:
            if f"{picture} written" in printed:
                made.append(f'<figure><div class="drawing"><img alt="{title_of(cells_of(script.read_text()))[0]}"'
                            f' src="../{picture}"></div></figure>')  # fmt: skip
    links = f'<p><a href="../{name}.ipynb" download>This example as a notebook</a></p>'
    return "\n\n".join([made[0], links, *made[1:]])


def card_of(script: Path, shown: Shown) -> str:
    """Return an example's card for the gallery."""
    title, about = title_of(cells_of(script.read_text()))
    about = re.sub(r"[$`*]|\\mathrm", "", about).replace("\\|", "‖").replace("{KL}", "KL")
    picture = next(iter(shown.pictures))
    return (
        f'<a class="card" href="{script.stem}/"><img alt="" loading="lazy" src="{picture}">'
        f"<strong>{html.escape(title)}</strong><span>{html.escape(about)}</span></a>"
    )


def on_files(files, config):
    """Add the examples' pages, whose text follows, and begin to run them."""
    from mkdocs.structure.files import File, InclusionLevel

    for name in running():
        page = File.generated(config, f"gallery/{name}.md", content="\n", inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    return files


def on_page_markdown(markdown, page, config, files):
    """Give the gallery its cards, and each example's page its text."""
    at = page.file.src_uri
    if at == "gallery/index.md":
        cards = [card_of(script, running()[script.stem].result()) for script in EXAMPLES]
        return markdown.replace(PLACE, '<div class="cards">' + "".join(cards) + "</div>")
    name = at.removeprefix("gallery/").removesuffix(".md")
    if at.startswith("gallery/") and name in running():
        return page_of(ROOT / "examples" / f"{name}.py", running()[name].result())
    return markdown


def on_post_build(config):
    """Write the pictures and the notebooks beside the pages."""
    folder = Path(config["site_dir"], "gallery")
    for script in EXAMPLES:
        for name, content in running()[script.stem].result().pictures.items():
            (folder / name).write_bytes(content)
        (folder / f"{script.stem}.ipynb").write_text(as_notebook(script.read_text()), encoding="utf-8")


if __name__ == "__main__":
    run_here(Path(sys.argv[1]).resolve())
