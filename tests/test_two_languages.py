"""The Chinese pages: the code, sections and figures of the English ones, with nothing left out on either side."""

import ast
import importlib.util
import io
import re
import tokenize
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib import font_manager

from vi_kl.report.figures import languages, style

DOCS = Path(__file__).parent.parent / "docs"
CHINESE = sorted(path.relative_to(DOCS / "zh") for path in (DOCS / "zh").rglob("*.md"))
RUN = [path for path in CHINESE if path.parts[0] == "learn" or path.name == "worms.md"]
TOLD = {  # pages that stand in both languages
    "glossary.md",
    "worms.md",
    "learn/kl_in_five_minutes.md",
    "learn/from_kl_to_the_elbo.md",
    "learn/many_parameters.md",
    "learn/two_directions.md",
    "learn/monte_carlo_or_vi.md",
    "learn/why_vi_and_nuts_disagree.md",
    "learn/reading_a_certificate.md",
    "learn/vae.md",
    "learn/course.md",
}
CJK = re.compile(r"[\u4e00-\u9fff]")
# three words of English in a row, in a text or a comment; names and Greek apart
SENTENCE = re.compile(r"(?<![\w.(\[])[A-Za-z]{2,},? [a-z]{2,},? [a-z]{2,}")


def load_hook():
    specification = importlib.util.spec_from_file_location("two_languages", DOCS / "two_languages.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


two = load_hook()


def text_of(path, language=""):
    return DOCS.joinpath(language, path).read_text(encoding="utf-8")


def outline(markdown):
    """Return what a page is made of, in order: headings, blocks of code, exercises' solutions, tables' rows, terms."""
    without = two.BLOCK.sub("[[code]]", markdown)
    without = re.sub(r"^( *)\[\[code\]\]$", "[[code]]", without, flags=re.MULTILINE)
    found = re.findall(
        r"^(#+) |^ *(\[\[code\]\])|^(\?\?\?)|^(:) {3}|^(\|)|^ *(```(?:text|math))", without, re.MULTILINE
    )
    return ["".join(each) for each in found]


def test_what_is_told_in_chinese():
    assert {path.as_posix() for path in CHINESE} == TOLD | {"index.md"}


@pytest.mark.parametrize("page", sorted(TOLD))
def test_neither_language_lacks_a_section_a_block_or_a_term(page):
    assert outline(text_of(page)) == outline(text_of(page, "zh")), page


@pytest.mark.parametrize("page", RUN, ids=str)
def test_every_word_of_the_table_is_used_and_none_is_missing(page):
    """What Chinese readers see of the code has no English sentence in it."""
    words, blocks = two.words_of(DOCS / "zh" / page), two.blocks_of(text_of(page))
    whole = "\n".join(blocks)
    assert not [piece for piece in words if piece not in whole]
    shown = [
        two.in_chinese(block, words) for block in blocks if 'result="' in block.partition("\n")[0] or "html=" in block
    ]
    left = [found[0] for block in shown for found in SENTENCE.finditer(strings_and_comments(block))]
    assert not left, left


def strings_and_comments(block):
    """Return the texts and comments of a block of code, a line each; the values within formatted texts are none."""
    code = "\n".join(block.splitlines()[1:-1])
    texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(text for text in texts if isinstance(text, str)), *comments])


def test_aligned_lines_of_chinese_pages_keep_their_columns():
    def shown(at, kind):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=at))
        return two.on_page_content(f'<p>熵</p><div class="language-{kind} highlight"><pre>熵 KL</pre></div>', page=page)

    assert shown("zh/a.md", "output").endswith('<pre><span class="wide">熵</span> KL</pre></div>')
    assert shown("zh/a.md", "output").startswith("<p>熵</p>")  # the rest is text
    assert "wide" not in shown("zh/a.md", "text") + shown("a.md", "output")


def test_the_search_is_told_where_terms_are():
    terms = two.terms_of(text_of("glossary.md", "zh"))
    assert {"平均场", "证据下界", "后验坍缩"} <= set(terms)
    assert two.in_words("平均场的 KL", terms) == "\u200b平均场\u200b的 KL"
    assert two.in_words("证据下界低于证据", ["证据下界", "证据"]) == "\u200b证据下界\u200b低于\u200b证据\u200b"


def test_a_page_without_all_of_the_code_is_refused():
    english = 'a\n\n```python exec="on" session="s"\nprint("one")\n```\n\n    ```python exec="on"\n    two\n    ```\n'
    with pytest.raises(two.TwoLanguagesError, match="1 places for code, and the English page 2 blocks"):
        two.with_code("甲\n\n[[code]]\n", english, {}, "zh/a.md")
    made = two.with_code("甲\n\n[[code]]\n\n    [[code]]\n", english, {"one": "一", '"one"': '"壹"'}, "zh/a.md")
    assert 'print("壹")' in made  # the longer piece goes first
    assert 'session="s-zh"' in made
    assert "    two\n    ```" in made
    assert outline(english) == ["[[code]]", "[[code]]"] != outline("## b\n[[code]]")


def test_chinese_figures_have_a_font_or_say_where_there_is_one(monkeypatch):
    languages.chinese_font.cache_clear()
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(languages, "PACKAGE", "no_such_package_of_fonts")
    with pytest.raises(languages.NoFontError, match=r"fonts-noto-cjk.*pylopdf-fonts-zh-cn"):
        style("zh")
    languages.chinese_font.cache_clear()
    with pytest.raises(ValueError, match="one of en, zh, not 'fr'"):
        style("fr")
