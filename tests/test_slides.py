"""The slides of the lessons: cut out of their pages, a screen each, large and clear, turned by keys, printed singly."""

import html
import re
from pathlib import Path

import pytest
from browser import SCHEMES, WIDTHS, Browser, needs_browser
from documentation import built_once, module_of_docs, needs_builders, serve

from vi_kl import course

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [lesson.page for lesson in course.lessons()]
PAGES += [f"zh/{page}" for page in PAGES if (DOCS / "zh" / page).exists()]
SMALLEST = 18  # pixels, of letters on a screen of 1280 by 720
SMALL = """
[...document.querySelectorAll("section *")].filter((element) =>
  [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) &&
  !element.closest("math") && parseFloat(getComputedStyle(element).fontSize) < %g
).map((element) => element.outerHTML.slice(0, 80))
"""
TALL = """
[...document.querySelectorAll("section")].filter((slide) => slide.getBoundingClientRect().height > innerHeight + 1)
  .map((slide) => slide.id)
"""

pytestmark = [pytest.mark.publication, needs_builders]


@pytest.fixture(scope="module")
def slides():
    """Return the module of docs/ that makes slides."""
    return module_of_docs("slides")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built_once(tmp_path_factory)


def deck_of(site, page):
    return (site / page).with_suffix("") / "slides" / "index.html"


def plain(text):
    """Return what is read of HTML: no elements, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def test_both_languages_mark_the_same_slides(slides):
    for page in PAGES:
        kinds = slides.MARK.findall((DOCS / page).read_text(encoding="utf-8"))
        assert kinds.count("slide") >= 5, page
        assert kinds == slides.MARK.findall((DOCS / page.removeprefix("zh/")).read_text(encoding="utf-8")), page


@pytest.mark.parametrize("page", PAGES)
def test_all_that_is_on_slides_is_the_pages_or_the_courses(slides, site, page):
    language = "zh" if page.startswith("zh/") else "en"
    deck = deck_of(site, page).read_text(encoding="utf-8")
    text = slides.LINK.sub("", (site / page).with_suffix("").joinpath("index.html").read_text(encoding="utf-8"))
    lesson = next(each for each in course.lessons(language) if page.endswith(each.page))
    sections = re.findall(r"<section.*?</section>", deck, re.DOTALL)
    assert len(sections) > len(lesson.exercises) + 5
    assert all(plain(goal) in plain(sections[0]) for goal in lesson.goals)
    for exercise, section in zip(lesson.exercises, sections[-len(lesson.exercises) :], strict=True):
        assert html.escape(exercise.question, quote=False) in section
    said = plain(text)
    for section in sections[1 : -len(lesson.exercises)]:
        for each in re.findall(r"<(h2|p|li|td|pre)\b[^>]*>(.*?)</\1>", section, re.DOTALL):
            assert plain(each[1]) in said
        for figure in re.findall(r'src="(data:image/png;base64,[^"]+)"', section):
            assert figure in text
    assert "<figure" not in deck
    assert 'class="language-python' not in deck
    assert "data-cut" not in deck + text
    assert "<!-- " not in deck


@needs_browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_slide_is_a_screen_in_large_clear_letters(site, tmp_path, scheme):
    with serve(site) as address, Browser(tmp_path) as browser:
        for page in PAGES:
            for width in WIDTHS:
                height = {"height": 720} if width == 1280 else {}
                at = f"{address}{page.removesuffix('.md')}/slides/"
                tab = browser.open(at, width=width, scheme=scheme, **height)
                assert tab.overflowing() + tab.errors + tab.requests + tab.faint() == [], page
                if width == 1280:
                    assert tab.evaluate(TALL) == [], page
                    assert tab.evaluate(SMALL % SMALLEST) == [], page
                tab.send("Page.close")


@needs_browser
def test_keys_turn_the_slides_and_each_is_a_page_in_print(site, tmp_path):
    with Browser(tmp_path) as browser:
        deck = deck_of(site, "learn/two_directions.md")
        tab = browser.open(deck, width=1280, height=720)
        assert tab.requests == []  # one file is all that it takes
        number = tab.evaluate("document.querySelectorAll('section').length")
        for key, code, shown in (
            ("ArrowRight", 39, 2),
            ("PageDown", 34, 3),
            (" ", 32, 4),
            ("ArrowLeft", 37, 3),
            ("End", 35, number),
            ("ArrowDown", 40, number),
            ("Home", 36, 1),
            ("ArrowUp", 38, 1),
        ):
            tab.press(key, code)
            tab.wait_for(f"location.hash === '#slide-{shown}'", seconds=10)
            top = f"Math.abs(document.getElementById('slide-{shown}').getBoundingClientRect().top) < 2"
            tab.wait_for(top, seconds=10)
        printed = tab.pdf(tmp_path / "slides.pdf", own_size=True).read_bytes()
        assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == number
        sizes = set(re.findall(rb"/MediaBox\s*\[\s*0 0 (\d+)[.\d]* (\d+)", printed))
        assert sizes in ({(b"960", b"540")}, {(b"959", b"540")})  # points: 16 to 9


def test_marks_that_cut_through_something_are_refused(slides):
    def cut(markdown):
        marked = slides.cuttable(markdown)
        return slides.slides_of(marked.replace("a\n", "<h1>a<a class='headerlink' href='#a'>¶</a></h1>\n"), "a.md")

    whole = cut(
        "a\n<p>b <!-- slide -->c <b>d</b>.<!-- /slide --> e</p>\n"
        "<!-- slide on -->\n<ul><li>f</li></ul>\n<!-- /slide -->\n"
    )
    assert [slide.content for slide in whole] == ["<p>c <b>d</b>.</p><ul><li>f</li></ul>"]
    for markdown, words in (
        ("a\n<p>b <!-- slide --><b>c<!-- /slide -->d</b></p>", "begin or end within"),
        ("a\n<!-- slide -->\n<p>b</p>", "opens or closes no slide"),
        ("a\n<!-- slide -->\n<p>b</p>\n<!-- slide -->\n<p>c</p>\n<!-- /slide -->", "opens or closes no slide"),
        ("a\n<!-- slide on -->\n<p>b</p>\n<!-- /slide -->", "before the first"),
    ):
        with pytest.raises(slides.SlidesError, match=words):
            cut(markdown)
    with pytest.raises(slides.SlidesError, match="marks no slide"):
        slides.deck_of("<h1>a</h1>", PAGES[0])
