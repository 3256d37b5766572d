"""The gallery: each script of examples/ is run while the documentation is built, and shown with its picture.

MkDocs loads this file as a hook. It adds a page for each example, with what its cells printed, the page's pictures, and
the example as a notebook. The examples are run beside the build, after the code of the pages.
"""

import functools
import html
import re
from concurrent.futures import Future
from pathlib import Path

import workers
from example_cells import Shown, cells_of, run_example, title_of
from notebooks import as_notebook

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PLACE = "<!-- examples -->"  # of the cards, on the gallery's page


@functools.cache
def running() -> dict[str, "Future[Shown]"]:
    """Start all examples, and return what will be known of each."""
    # the last ones take longest
    return {script.stem: workers.start(run_example, script) for script in reversed(EXAMPLES)}


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
