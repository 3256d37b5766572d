"""The documentation builds strictly, with all of its code executed, fetches nothing from elsewhere, and can be read.

What a browser makes of the pages is looked at by people; here are the rules and the lengths of lines on which it rests.
"""

import html
import importlib
import inspect
import json
import pydoc
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urldefrag

import numpyro.distributions as dist
import pytest
from browser import Browser, needs_browser
from documentation import built_once, needs_builders, serve

import vi_kl
from vi_kl.divergences.registry import CLOSED_FORMS

ROOT = Path(__file__).parent.parent
RESOURCE = re.compile(
    r'<(?:script|img|iframe)[^>]*\ssrc="(https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="(https?:)?//'
)
STYLE = (ROOT / "docs" / "style.css").read_text()
SHAPES = ("text", "output", "console")  # of what a block printed: the first wraps, the others scroll
LEARN = (
    "kl_in_five_minutes",
    "from_kl_to_the_elbo",
    "many_parameters",
    "two_directions",
    "monte_carlo_or_vi",
    "why_vi_and_nuts_disagree",
    "reading_a_certificate",
    "vae",
)  # pages whose code holds their numbers to independent truths
FORMULAS = ("kl_in_five_minutes", "from_kl_to_the_elbo", "two_directions", "why_vi_and_nuts_disagree")
WIDEST = 103  # characters that a page has room for at 1280 pixels


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return built_once(tmp_path_factory)


def pages_of(site: Path) -> dict[str, str]:
    """Return the pages of the site, {folder: content}."""
    return {page.relative_to(site).parent.as_posix(): page.read_text() for page in sorted(site.rglob("index.html"))}


@pytest.mark.publication
@needs_builders
def test_documentation_builds_strictly_and_is_self_contained(site):
    pages = pages_of(site)
    first = {".", "ten_minutes", "coming_from", "worms", "how_to_choose"}
    assert pages.keys() >= first | {"divergences", "kl_command", "extending", "glossary", "learn/course"}
    assert pages.keys() >= {"zh", "zh/worms", "zh/glossary", "zh/learn/course"}
    assert pages["zh/worms"].count("<figure>") == 4
    assert all('placeholder="Search"' not in page for name, page in pages.items() if name.startswith("zh"))
    assert all(('<html lang="zh-Hans"' in page) == name.startswith("zh") for name, page in pages.items())
    assert all("Exercises" in pages[f"learn/{name}"] and 'class="success"' in pages[f"learn/{name}"] for name in LEARN)
    for name in LEARN:
        in_chinese = pages[f"zh/learn/{name}"]
        assert "练习" in in_chinese, name
        assert 'class="success"' in in_chinese, name
        for part in ("<figure>", "<math"):
            assert in_chinese.count(part) == pages[f"learn/{name}"].count(part), name
    assert "vi_kl.families.Mixture" in pages["api/families"]
    assert all("<math" in pages[f"learn/{name}"] for name in FORMULAS)
    for name, page in pages.items():
        assert not RESOURCE.search(page), f"{name} loads something from elsewhere"
        assert "Traceback (most recent call last)" not in page, name
        assert not lines_without_room(page), name
        assert not re.search(r"<code>(<[^>]*>)?\w+,<", page), (
            f"{name} takes two names of a docstring for a name and a type"
        )
    assert pages["worms"].count("<figure>") == 4
    for figure in ("0.3384", "0.4773", "0.3301", "0.3378"):  # the article's, with a digit more
        assert figure in pages["worms"]


@pytest.mark.publication
@needs_builders
def test_a_chinese_page_prints_the_numbers_of_the_english_one(site):
    """What differs in words is run for each page, and must not have changed what both compute with."""
    pages = pages_of(site)
    for name in ("worms", *(f"learn/{name}" for name in (*LEARN, "course"))):
        english, chinese = (Counter(decimals(pages[each])) for each in (name, f"zh/{name}"))
        assert not chinese - english, name
        assert (english - chinese).total() <= 0.03 * english.total(), name  # one language may say less


def decimals(page: str) -> list[str]:
    """Return the numbers with a decimal point that the code of a built page has printed."""
    blocks = re.findall(r'<div class="language-(?:output|text) highlight"><pre>(.*?)</pre>', page, re.DOTALL)
    return [each for block in blocks for each in re.findall(r"\d+\.\d+", re.sub(r"<[^>]+>|,", "", block))]


@pytest.mark.publication
@needs_builders
def test_every_example_is_in_the_gallery_with_its_picture_and_as_a_notebook(site):
    pages, gallery = pages_of(site), site / "gallery"
    scripts = sorted((ROOT / "examples").glob("*.py"))
    assert len(scripts) >= 9
    for script in scripts:
        page = pages[f"gallery/{script.stem}"]
        title = script.read_text().splitlines()[1].removeprefix("# # ")
        assert html.escape(title, quote=False) in html.unescape(page)
        card = re.search(f'<a class="card" href="{script.stem}/"><img [^>]*src="([^"]+)"', pages["gallery"])
        assert (gallery / card[1]).read_bytes().startswith(b"\x89PNG")
        assert re.search(f'<img [^>]*src="../{re.escape(card[1])}"', page), "the page shows its picture too"
        notebook = json.loads((gallery / f"{script.stem}.ipynb").read_text())
        code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
        assert lines_of_code(code) == lines_of_code(script.read_text())


def lines_of_code(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and not line.startswith("#")]


@pytest.mark.publication
@needs_builders
def test_every_link_leads_somewhere(site):
    pages, root = pages_of(site), site.resolve()
    places = {folder: set(re.findall(r'\sid="([^"]+)"', page)) for folder, page in pages.items()}
    broken, seen = [], 0
    for folder, page in pages.items():
        for address in re.findall(r'\s(?:href|src)="([^"]*)"', page):
            address = html.unescape(address)
            if re.match(r"[a-z]+:|//", address):
                continue
            path, part = urldefrag(unquote(address))
            file = (root / folder / path).resolve() if path else root / folder
            seen += 1
            there = file.relative_to(root).as_posix() if file.is_relative_to(root) else "outside"
            no_part = part and "=" not in part and part not in places.get(there, {part})
            if not file.exists() or (file.is_dir() and there not in pages) or no_part:
                broken.append(f"{folder}: {address}")
    assert seen > 1000
    assert not broken


@pytest.mark.publication
@needs_builders
@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_every_page_fits_can_be_read_and_asks_nobody_for_anything(site, tmp_path, width, scheme):
    wrong = {}
    with serve(site) as address, Browser(tmp_path) as browser:
        for folder in pages_of(site):
            tab = browser.open(f"{address}{folder}/", width=width, scheme=scheme)
            found = tab.overflowing() + tab.faint() + tab.errors + tab.requests
            if found:
                wrong[folder] = found
            tab.send("Page.close")
    assert not wrong


@pytest.mark.publication
@needs_builders
@needs_browser
@pytest.mark.parametrize(
    ("sought", "page"),
    [("交叉熵", "zh/worms"), ("比特返还", "zh/learn/from_kl"), ("funnel", "learn/why")],
)
def test_search_finds_pages_in_both_languages(site, tmp_path, sought, page):
    with serve(site) as address, Browser(tmp_path) as browser:
        tab = browser.open(f"{address}zh/")
        tab.evaluate("document.querySelector('.md-search__input').focus()")
        tab.send("Input.insertText", {"text": sought})
        tab.wait_for("document.querySelector('.md-search-result__link')", seconds=30)
        found = tab.evaluate("[...document.querySelectorAll('.md-search-result__link')].map((a) => a.href)")
        assert any(f"{address}{page}" in each for each in found[:4]), found


def lines_without_room(page: str) -> list[str]:
    """Return the lines that a reader of a built page would not see to their end: aligned ones, which do not wrap."""
    blocks = re.findall(r'<div class="language-(?:output|console) highlight"><pre>(.*?)</pre>', page, re.DOTALL)
    lines = "\n".join(html.unescape(re.sub("<[^>]+>", "", block)) for block in blocks).splitlines()
    return [line for line in lines if len(line.rstrip()) > WIDEST]


def test_a_line_without_room_is_found():
    block = '<div class="language-{} highlight"><pre><code><span>{}</span>\nshort</code></pre></div>'
    assert lines_without_room(block.format("output", "&lt;" * 200)) == ["<" * 200]
    assert lines_without_room(block.format("console", "x" * 104))
    assert not lines_without_room(block.format("output", "&lt;" * 100))
    assert not lines_without_room(block.format("text", "x " * 200))  # wraps


def declarations(selector: str, within: str = STYLE) -> str:
    """Return what the style says of a selector."""
    return "".join(re.findall(re.escape(selector) + r" \{([^{}]*)\}", within))


def test_what_a_block_prints_wraps_or_scrolls():
    wraps = declarations(".md-typeset .language-text pre > code")
    assert "white-space: pre-wrap;" in wraps
    assert "overflow-wrap: break-word;" in wraps
    for page in (ROOT / "docs").rglob("*.md"):
        for options in re.findall(r"^```python (exec=.*)$", page.read_text(), re.MULTILINE):
            shape = re.search(r'result="(\w+)"', options)
            assert shape is None or shape[1] in SHAPES, f"{page.name}: {options}"


def test_names_in_tables_are_whole_and_figures_are_in_boxes():
    names = declarations(".md-typeset table:not([class]) :is(td, th, code)")
    assert "overflow-wrap: normal;" in names
    assert "word-break: normal;" in names
    assert "white-space: nowrap;" in declarations(".md-typeset table:not([class]) code")
    box = declarations(".md-typeset .drawing")
    assert "overflow-x: auto;" in box
    assert "background: #fff;" in box  # in either scheme
    paper = STYLE[STYLE.index("@media print") :]
    assert "color-scheme: light !important;" in declarations("  body", paper)
    assert "white-space: pre-wrap;" in declarations(".md-typeset pre > code", paper)
    assert "break-inside: avoid;" in declarations(".md-typeset :is(figure, tr)", paper)
    for page in (ROOT / "docs").rglob("*.md"):
        for picture in re.finditer(r"^!\[", page.read_text(), re.MULTILINE):
            assert page.read_text()[: picture.start()].endswith('<div class="drawing" markdown>\n\n'), page.name
        assert "<img" not in page.read_text(), f"{page.name}: Picture.to_html makes a box for it"


def test_the_pages_follow_the_scheme_of_the_system():
    settings = (ROOT / "mkdocs.yml").read_text()
    for query, scheme in (("light", "default"), ("dark", "slate")):
        assert f'- media: "(prefers-color-scheme: {query})"\n      scheme: {scheme}\n' in settings
    assert settings.count("toggle:") == 3


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


def test_lists_in_docstrings_that_pages_show_are_indented():
    """Markdown runs the lines of an aligned list into one paragraph, unless they are indented."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    for place in re.findall(r"^::: (\S+)$", pages, re.MULTILINE):
        loose = re.findall(r"^\w+ {2,}\S.*$", inspect.getdoc(pydoc.locate(place)) or "", re.MULTILINE)
        assert not loose, f"{place}: {loose[0]}"


def test_the_accuracy_figures_are_those_of_the_registry():
    """Every exact pair was measured, beside some that subclasses inherit, and all meet the bar."""
    figures = json.loads((ROOT / "docs" / "accuracy.json").read_text())
    concrete = {f"{p.__name__} {q.__name__}" for p, q in CLOSED_FORMS if dist.Distribution not in (p, q)}
    again = "run python tests/benchmarks/measure_accuracy.py"
    assert figures.keys() >= concrete, f"{again}: {concrete - figures.keys()}"
    for pair, row in figures.items():
        assert float(row["float32"]) <= 1e-5, pair
        assert float(row["float64"]) <= 1e-12, pair
