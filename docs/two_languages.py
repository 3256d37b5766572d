"""One source of code, two texts: a Chinese page runs the code of the English page whose path it has.

A page under zh/ has a line `[[code]]` where the next block of code of the English page belongs, in the English order:
so code, numbers and figures live once. What the code prints, labels and comments say is put into Chinese by a table
beside the page (`<page>.words.json`): literal pieces of the code, and what stands in their place. Chinese is written
without spaces, so the search is told where the terms are that the glossary has. `mkdocs.yml` names this file as a hook;
tests/test_two_languages.py compares the pages.
"""

import json
import re
from pathlib import Path

DOCS = Path(__file__).parent
FOLDER = "zh"
BLOCK = re.compile(r'^(?P<indent> *)```python exec="on"[^\n]*\n.*?^(?P=indent)```$', re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^(?P<indent> *)\[\[code\]\]$", re.MULTILINE)
PRINTED = re.compile(r'<div class="language-output highlight">.*?</div>', re.DOTALL)
TERM = re.compile(r"^(.+)\n:   ", re.MULTILINE)  # of the glossary
HAN = r"[\u4e00-\u9fff]"
WIDE = re.compile(r"[\u2e80-\u9fff\uff01-\uff60]")  # characters that take two columns


class TwoLanguagesError(ValueError):
    """An error: the two texts of a page do not go together; the message names the page."""


def blocks_of(markdown: str) -> list[str]:
    """Return the blocks of a page that are run, from fence to fence, without indentation."""
    return [
        "\n".join(line.removeprefix(found["indent"]) for line in found[0].splitlines())
        for found in BLOCK.finditer(markdown)
    ]


def words_of(path: Path) -> dict[str, str]:
    """Return the table of words that stands beside a Chinese page; an empty one where there is none."""
    table = path.with_suffix(".words.json")
    return json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}


def in_chinese(block: str, words: dict[str, str]) -> str:
    """Return a block of code with its words in Chinese, and a session of its own; long pieces go first."""
    for piece in sorted(words, key=len, reverse=True):
        block = block.replace(piece, words[piece])
    return re.sub(r'session="(\w+)"', rf'session="\1-{FOLDER}"', block, count=1)


def with_code(markdown: str, english: str, words: dict[str, str], name: str) -> str:
    """Return a Chinese page with the code of the English one in its places.

    Raises:
        TwoLanguagesError: it has not as many places as the other has blocks.
    """
    blocks, places = blocks_of(english), len(PLACE.findall(markdown))
    if len(blocks) != places:
        raise TwoLanguagesError(f"{name} has {places} places for code, and the English page {len(blocks)} blocks.")
    coming = iter(blocks)

    def filled(place):
        lines = in_chinese(next(coming), words).splitlines()
        return "\n".join(f"{place['indent']}{line}".rstrip() for line in lines)

    return PLACE.sub(filled, markdown)


def on_page_markdown(markdown, *, page, **_):
    """Fill in the code of a Chinese page before it is run: MkDocs calls this for every page."""
    here = Path(page.file.src_uri)
    if here.parts[0] != FOLDER or not PLACE.search(markdown):
        return markdown
    english = DOCS.joinpath(*here.parts[1:]).read_text(encoding="utf-8")
    return with_code(markdown, english, words_of(DOCS / here), page.file.src_uri)


def on_page_context(context, *, page, config, **_):
    """Let the theme's own words (search, copy) be in the language of the page: MkDocs calls this for every page."""
    config.theme["language"] = "zh" if Path(page.file.src_uri).parts[0] == FOLDER else "en"
    return context


def on_page_content(html, *, page, **_):
    """Set the characters of aligned lines in columns, on Chinese pages: MkDocs calls this for every page."""
    if Path(page.file.src_uri).parts[0] != FOLDER:
        return html
    return PRINTED.sub(lambda found: WIDE.sub(r'<span class="wide">\g<0></span>', found[0]), html)


def on_post_page(output, **_):
    """Say in its HTML in which characters a Chinese page is written: MkDocs calls this for every page."""
    return output.replace('<html lang="zh"', '<html lang="zh-Hans"', 1)


def on_post_build(*, config, **_):
    """Help the language switch and the search with the Chinese pages: MkDocs calls this at the end.

    The switch looks for a site map beside them. The search takes what is between marks of no width for a word.
    """
    site = Path(config["site_dir"])
    (site / FOLDER / "sitemap.xml").write_bytes((site / "sitemap.xml").read_bytes())
    terms = terms_of((DOCS / FOLDER / "glossary.md").read_text(encoding="utf-8"))
    index = site / "search" / "search_index.json"
    found = json.loads(index.read_text(encoding="utf-8"))
    for entry in found["docs"]:
        if entry["location"].startswith(f"{FOLDER}/"):
            entry.update({part: in_words(entry[part], terms) for part in ("title", "text")})
    index.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def terms_of(glossary: str) -> list[str]:
    """Return the Chinese words of a glossary's entries, long ones first."""
    found = {word for entry in TERM.findall(glossary) for word in re.findall(f"{HAN}{{2,}}", entry)}
    return sorted(found, key=len, reverse=True)


def in_words(text: str, terms: list[str]) -> str:
    """Return text with a mark of no width before and behind each term."""
    return re.sub("|".join(terms), lambda term: f"\u200b{term[0]}\u200b", text)
