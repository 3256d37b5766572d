"""Slides of the lessons, cut out of their pages: what a page says, computes and draws is said once.

A page marks what is to be projected: `<!-- slide -->` begins a slide, `<!-- slide on -->` what else stands on it, and
`<!-- /slide -->` ends either, between blocks or within a paragraph. The heading above is the slide's title; code is
left to the page, what it printed is shown. The goals of the lesson stand on the first slide, its exercises on the last
ones. MkDocs loads this file as a hook; each page's slides are one file that needs no other, beside the page.
"""

import functools
import html
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from notebooks import with_link

FOLDER = Path(__file__).parent / "slides"
MARK = re.compile(r"<!-- (slide|slide on|/slide) -->")  # in Markdown,
CUT = re.compile(r'<(?:span|div) data-cut="(slide|slide on|/slide)"></(?:span|div)>')  # and in HTML
HEADING = re.compile(r"<h[1-3][^>]*>(.*?)</h[1-3]>", re.DOTALL)
SOURCE = re.compile(r'<div class="language-python highlight">.*?</div>', re.DOTALL)
LINK = re.compile(r'<a class="headerlink".*?</a>|<sup id="fnref[^"]*">.*?</sup>|</?a\b[^>]*>', re.DOTALL)
PRINTED = re.compile(r'<div class="language-output highlight"><pre>(.*?)</pre></div>', re.DOTALL)
FIGURE = re.compile(r'<figure>(<div class="drawing">.*?</div>)<figcaption>(.*?)</figcaption></figure>', re.DOTALL)
BLOCK = re.compile(r"\s*<(p|ul|ol|table|figure|div|h\d|span class=.formula)\b")
EMPTY = {"img", "br", "hr", "meta", "link", "path", "mspace", "wbr"}
WORDS = {
    "en": {
        "slides": "Slides",
        "lesson": "Lesson {} of {}",
        "goals": "After it you can",
        "exercise": "Exercise",
        "answer": 'Answer with vi_kl.course.check("{}", answer)',
        "help": "Arrow keys turn the slides; printed, each is a page.",
        "page": "The page",
    },
    "zh": {
        "slides": "幻灯片",
        "lesson": "第 {} 课，共 {} 课",
        "goals": "学完之后你能",
        "exercise": "练习",
        "answer": '用 vi_kl.course.check("{}", 答案, lang="zh") 检查答案',
        "help": "方向键翻页；打印时每张一页。",
        "page": "课文",
    },
}


class SlidesError(ValueError):
    """An error: a page's marks do not cut out whole slides; the message says which page and where."""


class Slide(NamedTuple):
    """A slide: its title, as HTML, and what stands below it."""

    title: str
    content: str


# ---- out of a page --------------------------------------------------------------------------------------------------


def slides_of(content: str, name: str) -> list[Slide]:
    """Return the slides that the marks of a page cut out of its HTML.

    Raises:
        SlidesError: a mark is missing, or cuts through something; the page is called by its name.
    """
    found: list[Slide] = []
    marks = list(CUT.finditer(content))
    for opening, closing in zip(marks[::2], [*marks[1::2], None], strict=False):
        if opening[1] == "/slide" or closing is None or closing[1] != "/slide":
            raise SlidesError(f"{name}: a mark opens or closes no slide, near {content[opening.start() :][:80]!r}.")
        piece = piece_of(content[opening.end() : closing.start()], name)
        if opening[1] == "slide":
            title = list(HEADING.finditer(content, 0, opening.start()))[-1][1]
            found.append(Slide(LINK.sub("", title).strip(), piece))
        elif found:
            found[-1] = found[-1]._replace(content=found[-1].content + piece)
        else:
            raise SlidesError(f"{name}: 'slide on' comes before the first slide.")
    return found


def piece_of(marked: str, name: str) -> str:
    """Return what stands between two marks as a slide shows it: without code and links, and whole."""
    text = LINK.sub("", SOURCE.sub("", marked)).strip()
    text = text if BLOCK.match(text) else f"<p>{text}</p>"
    check = Balance()
    check.feed(text)
    if check.open or check.wrong:
        raise SlidesError(f"{name}: a slide would begin or end within something, near {text[:80]!r}.")
    return PRINTED.sub(lambda found: wide(found[1]), text)


class Balance(HTMLParser):
    """What a piece of HTML leaves open, or closes without having opened it."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.wrong = False

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            self.wrong |= not self.open or self.open.pop() != tag


def beside(content: str) -> str:
    """Return a slide's content with all its words beside its figure, if it has one: so the figure can be large."""
    drawings = [found[1] for found in FIGURE.finditer(content)]
    if not drawings:
        return content
    words = FIGURE.sub(r'<p class="caption">\2</p>', content)
    return f'<div class="beside"><div>{"".join(drawings)}</div><div class="words">{words}</div></div>'


def wide(printed: str) -> str:
    """Return aligned lines that were printed, in letters so large that the longest has room."""
    lines = html.unescape(re.sub("<[^>]+>", "", printed)).splitlines()
    return f'<pre tabindex="0" style="--columns: {max(map(columns, lines))}">{printed}</pre>'


def columns(line: str) -> int:
    """Return how many columns of a terminal a line takes; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line.rstrip())


# ---- a lesson's slides ----------------------------------------------------------------------------------------------


@functools.cache
def lessons(language: str) -> dict:
    """Return the lessons of the course with their numbers, by the paths of their pages."""
    from vi_kl import course

    folder = "zh/" if language == "zh" else ""
    return {folder + lesson.page: (i, lesson) for i, lesson in enumerate(course.lessons(language), 1)}


def deck_of(content: str, at: str) -> str:
    """Return the slides of a page as a page of their own.

    Args:
        content: the page's HTML, with its marks.
        at: the path of its source.

    Raises:
        SlidesError: the page has no marks, or they cut through something.
    """
    language = language_of(at)
    words, (number, lesson) = WORDS[language], lessons(language)[at]
    cut = slides_of(content, at)
    if not cut:
        raise SlidesError(f"{at} is the page of a lesson, and marks no slide.")
    goals = "".join(f"<li>{html.escape(goal)}</li>" for goal in lesson.goals)
    of = words["lesson"].format(number, len(lessons(language)))
    first = (
        f'<p class="of">{of}</p><h1>{html.escape(lesson.title)}</h1><p>{words["goals"]}</p><ul>{goals}</ul>'
        f'<p class="quiet">{words["help"]} <a href="../">{words["page"]}</a></p>'
    )
    shown = [first, *(f"<h2>{slide.title}</h2>{beside(slide.content)}" for slide in cut)]
    for exercise in lesson.exercises:
        answer = html.escape(words["answer"].format(exercise.name), quote=False)
        question = html.escape(exercise.question, quote=False)
        shown.append(f'<h2>{words["exercise"]} {exercise.name}</h2><p>{question}</p><p class="quiet">{answer}</p>')
    return page_of(lesson.title, shown, language)


def page_of(title: str, shown: list[str], language: str) -> str:
    """Return a page of slides, with its style and its few lines of script inside."""
    title = html.escape(title)
    sections = "".join(
        f'<section id="slide-{i}"><div class="slide">{content}</div>'
        f"<footer><span>{title}</span><span>{i} / {len(shown)}</span></footer></section>\n"
        for i, content in enumerate(shown, 1)
    )
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("slides.css", "slides.js"))
    return (
        f'<!doctype html>\n<html lang="{"zh-Hans" if language == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n<title>{title}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{sections}</main>\n<script>\n{script}</script>\n"
        f"</body>\n</html>\n"
    )


def language_of(at: str) -> str:
    return "zh" if at.startswith("zh/") else "en"


# ---- as MkDocs asks for them ----------------------------------------------------------------------------------------

made: dict[str, str] = {}  # slides by the path of their pages


def on_page_markdown(markdown, *, page, **_):
    """Lead to the slides of a lesson's page, below its title, and write its marks so that they end up in the HTML."""
    at = page.file.src_uri
    language = language_of(at)
    if at not in lessons(language):
        return markdown
    return cuttable(with_link(markdown, f'<a href="slides/">{WORDS[language]["slides"]}</a>'))


def cuttable(markdown: str) -> str:
    """Return a page with its marks as elements: Markdown takes comments out of paragraphs."""
    markdown = re.sub(rf"^{MARK.pattern}$", r'<div data-cut="\1"></div>', markdown, flags=re.MULTILINE)
    return MARK.sub(r'<span data-cut="\1"></span>', markdown)


def on_page_content(html, *, page, **_):
    """Cut the slides out of a lesson's page, and take the marks off it."""
    at = page.file.src_uri
    if at in lessons(language_of(at)):
        made[at] = deck_of(html, at)
    return CUT.sub("", html)


def on_post_build(*, config, **_):
    """Write the slides below their pages."""
    for at, deck in made.items():
        folder = Path(config["site_dir"], at).with_suffix("") / "slides"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(deck, encoding="utf-8")
