"""One self-contained HTML page: text, tables and figures inline, nothing fetched from elsewhere."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from vi_kl.core.files import replacing
from vi_kl.report.picture import Picture
from vi_kl.report.provenance import Provenance
from vi_kl.report.tables import Table

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # as HTML names them
WORDS = {  # of the page itself
    "en": {"columns": "What the columns mean", "made": "Made", "by": "by", "key": "Key of", "versions": "Versions"},
    "zh": {"columns": "各列的含义", "made": "生成于", "by": "，命令", "key": "随机种子", "versions": "版本"},
}


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with what stands below it.

    Attributes:
        title: the heading.
        paragraphs: text.
        tables: tables, below the text.
        pictures: pictures, below the tables.
        answer: a sentence before all of it, set off from the rest.
        parts: smaller headings, each with its paragraphs.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    answer: str = ""
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()


def inline(picture: Picture) -> Markup:
    """Return the SVG element without its XML header, which has no place inside HTML."""
    return Markup(picture.svg[picture.svg.index("<svg") :])


def meanings_of(sections: Sequence[Section]) -> dict[str, str]:
    """Return {title: meaning} of every column of every table, each once, in the order of the page."""
    tables = [table for section in sections for table in section.tables]
    return {name: meaning for table in tables for name, meaning in zip(table.columns, table.meanings, strict=True)}


def render_page(title: str, lead: str, sections: list[Section], made: Provenance, language: str = "en") -> str:
    """Return the HTML of a page: sections, what the columns of its tables mean, and where it comes from.

    The words around them are in a language of `WORDS`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vi_kl.report", "templates"), autoescape=True, trim_blocks=True
    )
    environment.filters["inline"] = inline
    meanings = meanings_of(sections)
    numbers = {name: number for number, name in enumerate(meanings, 1)}
    return environment.get_template("page.html").render(
        title=title,
        lead=lead,
        sections=sections,
        meanings=meanings,
        numbers=numbers,
        made=made,
        language=LANGUAGES[language],
        words=WORDS[language],
    )


def write_page(folder: Path, page: str, pictures: Sequence[Picture] = ()) -> None:
    """Write index.html, and figures/ with every picture as SVG and PNG, into a folder that is made if need be."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_atomically(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "index.html", page)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the file and move it there, so that an interruption leaves the old one whole."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as file:
        file.write(data)
