"""The pages to learn from as notebooks: their text, and the code that was run for them, in cells.

MkDocs loads this file as a hook, after the one that fills the code into Chinese pages. A page's notebook lies beside
the page, and a line below the title leads to it. What a page shows as a figure or as text with marks (a table, a
question) is displayed so in the notebook; solutions are folded there too. Jupytext makes the notebooks.
"""

import ast
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from two_languages import BLOCK

TAUGHT = re.compile(r"^(zh/)?(worms|learn/\w+)\.md$")  # the pages that are notebooks too
FOLD = re.compile(r'^\?\?\? \w+ "(.*)"$')
FORMULA = re.compile(r"^```math\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
HERE = re.compile(r"\[([^\]]+)\]\((?!\w+:)[^)]*\)")  # a link to another page of the site
NAMED = re.compile(r" \{#[\w-]+\}$", re.MULTILINE)  # a heading's own address
NOTE = re.compile(r"\[\^(\w+)\](?!:)")
NOTED = re.compile(r"^\[\^(\w+)\]: (.*)$", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
FIGURE = re.compile(r"^( *)print\((.*\.to_html\(\))\)$", re.MULTILINE)
EXERCISE = re.compile(r'^ask\("([\w-]+)"\)$', re.MULTILINE)  # below which a notebook has a cell for an answer
WORDS = {
    "en": (
        "This page as a notebook",
        "A page of vi_kl's documentation as a notebook. It needs vi_kl and what the pages are made with: "
        "`pip install '.[docs]'` in a checkout.",
        'answer = ...\nprint(course.check("{}", answer))',
    ),
    "zh": (
        "本页的笔记本（notebook）",
        "这是 vi_kl 文档中一页的笔记本。它需要 vi_kl 和生成网页所用的包：在源码目录里运行 `pip install '.[docs]'`。",
        'answer = ...\nprint(check("{}", answer))',
    ),
}
LINKS = re.compile(r'\n<p class="links">(.*)</p>')
SETUP = "from IPython.display import HTML, Markdown, display"
PROSE = '''

@contextlib.contextmanager
def prose():
    """Show what is printed within as text with its marks: tables and bold words."""
    with contextlib.redirect_stdout(io.StringIO()) as written:
        yield
    display(Markdown(written.getvalue()))'''


class Cell(NamedTuple):
    """A cell: whether it is code, its text, and whether it belongs to a solution, which is folded."""

    is_code: bool
    text: str
    folded: bool


# ---- from a page to cells -------------------------------------------------------------------------------------------


def cells_of(markdown: str, language: str = "en") -> list[Cell]:
    """Return the cells of a page whose code is in it: its text, each block that is run, and places for answers.

    Raises:
        ValueError: a block shows a figure in a way that cannot be displayed in a notebook.
    """
    markdown = with_notes_at_the_end(COMMENT.sub("", markdown))
    cells: list[Cell] = []
    at, title = 0, ""
    for block in BLOCK.finditer(markdown):
        texts, title = text_cells(markdown[at : block.start()], title)
        title = title if block["indent"] else ""
        code = displayed("\n".join(line.removeprefix(block["indent"]) for line in block[0].splitlines()))
        cells += [*texts, Cell(True, code, bool(title))]
        cells += [Cell(True, WORDS[language][2].format(name), False) for name in EXERCISE.findall(block[0])]
        at = block.end()
    return cells + text_cells(markdown[at:], title)[0]


def text_cells(text: str, title: str) -> tuple[list[Cell], str]:
    """Return the cells of what stands between blocks of code, and the title of the solution that is open at its end.

    Args:
        text: the Markdown of the page.
        title: that of the solution that is open where it begins; "" outside of one.
    """
    parts: list[tuple[str, list[str]]] = [(title, [])]
    for line in text.splitlines():
        opening = FOLD.match(line)
        if opening or (title and line and not line.startswith("    ")):
            title = opening[1] if opening else ""
            parts.append((title, []))
        if not opening:
            parts[-1][1].append(line.removeprefix("    ") if title else line)
    written = [(of, in_jupyter("\n".join(lines).strip("\n"))) for of, lines in parts]
    folded = "<details><summary>{}</summary>\n\n{}\n\n</details>"
    cells = [Cell(False, folded.format(of, words) if of else words, bool(of)) for of, words in written if words]
    return cells, title


def in_jupyter(text: str) -> str:
    """Return text as Jupyter reads it: formulas between dollars, and the titles of other pages for links to them."""
    text = FORMULA.sub(lambda found: f"$$\n{aligned(found[1])}\n$$", text)
    return HERE.sub(r"\1", NAMED.sub("", text))


def aligned(latex: str) -> str:
    """Return a formula, of several lines in the environment that they need."""
    return f"\\begin{{aligned}}\n{latex}\n\\end{{aligned}}" if "\\\\" in latex else latex


def with_notes_at_the_end(markdown: str) -> str:
    """Return a page with its footnotes numbered, and written out below: Jupyter knows none."""
    names = list(dict.fromkeys(NOTE.findall(markdown)))
    said = dict(NOTED.findall(markdown))
    text = NOTE.sub(lambda found: f"<sup>{names.index(found[1]) + 1}</sup>", NOTED.sub("", markdown))
    return text + "".join(f"\n\n<sup>{i}</sup> {said[name]}" for i, name in enumerate(names, 1))


def displayed(block: str) -> str:
    """Return the code of a block, from fence to fence, so that a notebook displays what the page shows."""
    head, *lines, _ = block.splitlines()
    code = "\n".join(lines)
    if 'html="on"' in head:
        shown = FIGURE.sub(r"\1display(HTML(\2))", code)
        if "print(" in shown or shown == code:
            raise ValueError(f"A figure is shown otherwise than by a line 'print(... .to_html())':\n{code}")
        return shown
    if "source=" not in head and writes(code):
        return "with prose():\n" + textwrap.indent(code, "    ")
    return code


def writes(code: str) -> bool:
    """Say whether code prints, or calls a function by its name for what it does, and not for what it returns."""
    calls = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Expr))
    return any(isinstance(call, ast.Call) and isinstance(call.func, ast.Name) for call in calls)


# ---- from cells to a notebook ---------------------------------------------------------------------------------------


def notebook_of_page(markdown: str, language: str = "en") -> str:
    """Return the notebook of a page whose code is in it, as the text of an .ipynb file."""
    first, *cells = cells_of(markdown, language)
    title, _, rest = first.text.partition("\n")
    written = "\n".join(cell.text for cell in cells if cell.is_code)
    setup = [Cell(True, SETUP, False)] if "display(" in written else []
    if "with prose():" in written:
        setup = [Cell(True, f"import contextlib\nimport io\n\n{SETUP}\n{PROSE}", False)]
    about = Cell(False, f"{title}\n\n*{WORDS[language][1]}*", False)
    beginning = [Cell(False, rest.strip(), False)] if rest.strip() else []
    return as_notebook("\n\n".join(map(in_percent_format, [about, *setup, *beginning, *cells])) + "\n")


def in_percent_format(cell: Cell) -> str:
    """Return a cell as it stands in a script in the percent format."""
    if not cell.is_code:
        return "# %% [markdown]\n" + "\n".join(f"# {line}".rstrip() for line in cell.text.splitlines())
    return ('# %% jupyter={"source_hidden": true}\n' if cell.folded else "# %%\n") + cell.text


def as_notebook(script: str) -> str:
    """Return a script in the percent format as a notebook: the same script gives the same text."""
    import jupytext  # here, so that examples run without it

    notebook = jupytext.reads(script, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return jupytext.writes(notebook, fmt="ipynb")


# ---- as MkDocs asks for them ----------------------------------------------------------------------------------------

made: dict[str, str] = {}  # notebooks by the path of their pages


def on_page_markdown(markdown, *, page, **_):
    """Make the notebook of a page that teaches, and lead to it below the title."""
    at = page.file.src_uri
    if not TAUGHT.match(at):
        return markdown
    language = "zh" if at.startswith("zh/") else "en"
    made[at] = notebook_of_page(markdown, language)
    return with_link(markdown, f'<a href="../{Path(at).stem}.ipynb" download>{WORDS[language][0]}</a>')


def with_link(markdown: str, link: str) -> str:
    """Return a page with a link below its title, after those that stand there already."""
    title, _, rest = markdown.partition("\n")
    before = LINKS.match(rest)
    if before:
        return f'{title}\n\n<p class="links">{before[1]} · {link}</p>{rest[before.end() :]}'
    return f'{title}\n\n<p class="links">{link}</p>\n{rest}'


def on_post_build(*, config, **_):
    """Write the notebooks beside their pages."""
    for at, notebook in made.items():
        Path(config["site_dir"], at).with_suffix(".ipynb").write_text(notebook, encoding="utf-8")
