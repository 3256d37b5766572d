"""The pages to learn from as notebooks: the code that was run for them, in its order, and what Jupyter can read.

The whole code of every page is run where the documentation is built; here it is shown to be what the cells hold. Three
notebooks are run as Jupyter runs them, in processes of their own: one with figures, the questions in each language.
"""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import built_once, module_of_docs, needs_builders

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix()
    for folder in (DOCS, DOCS / "zh")
    for path in (folder / "worms.md", *(folder / "learn").glob("*.md"))
)
RUN = ("learn/course.md", "zh/learn/course.md", "learn/two_directions.md")
# runs the cells of a notebook in IPython, and writes what each displayed and printed, by its kind
RUNNER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell, shown = InteractiveShell.instance(), []
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        with capture_output() as told:
            shell.run_cell("".join(cell["source"])).raise_error()
        displayed = {kind: text for each in told.outputs for kind, text in each.data.items()}
        shown.append({"text/plain": told.stdout} | displayed)
json.dump(shown, open(sys.argv[2], "w", encoding="utf-8"))
"""

pytestmark = [
    pytest.mark.publication,
    needs_builders,
    pytest.mark.skipif(importlib.util.find_spec("jupytext") is None, reason="not installed: jupytext"),
]


@pytest.fixture(scope="module")
def hooks():
    """Return the modules of docs/ that fill in code and make notebooks."""
    return module_of_docs("two_languages"), module_of_docs("notebooks")


def text_of(hooks, page):
    """Return a page with its code in it, as the build has it."""
    two_languages, _ = hooks
    text = (DOCS / page).read_text(encoding="utf-8")
    if not page.startswith("zh/"):
        return text
    english = (DOCS / page.removeprefix("zh/")).read_text(encoding="utf-8")
    return two_languages.with_code(text, english, two_languages.words_of(DOCS / page), page)


def notebook_of(hooks, page):
    return json.loads(hooks[1].notebook_of_page(text_of(hooks, page), "zh" if page.startswith("zh/") else "en"))


def sources(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def code_of(tree):
    """Return what code does, in text, with figures and prose printed as pages print them."""
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.With) and "prose()" in ast.unparse(tree.body[0].items[0]):
        tree = ast.Module(tree.body[0].body, [])
    return re.sub(r"\bdisplay\(HTML\((.*)\)\)$", r"print(\1)", ast.unparse(tree), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_cells_of_a_notebook_are_the_code_that_was_run_for_the_page(hooks, page):
    blocks = hooks[0].blocks_of(text_of(hooks, page))
    cells = sources(notebook_of(hooks, page), "code")
    if cells[0].startswith("import contextlib") or cells[0].startswith("from IPython"):
        cells = cells[1:]
    cells = [cell for cell in cells if not cell.startswith("answer = ...")]
    assert [code_of(ast.parse(cell)) for cell in cells] == [
        ast.unparse(ast.parse("\n".join(block.splitlines()[1:-1]))) for block in blocks
    ]
    assert len({re.search(r'session="([\w-]+)"', block)[1] for block in blocks}) == 1  # one page is one namespace


@pytest.mark.parametrize("page", PAGES)
def test_a_notebook_is_valid_and_holds_nothing_that_jupyter_does_not_read(hooks, page):
    import nbformat

    notebook = notebook_of(hooks, page)
    nbformat.validate(notebook)
    text = "\n\n".join(sources(notebook, "markdown"))
    assert text.startswith((DOCS / page).read_text().splitlines()[0])
    for foreign in (
        r"\]\((?!https?:)",
        r"<!--",
        r"\{#",
        r"\[\^",
        r"^\?\?\?",
        r"```math",
        r"\[\[code\]\]",
        r'exec="on"',
    ):
        assert not re.search(foreign, text, re.MULTILINE), foreign
    solutions = len(re.findall(r"^\?\?\?", text_of(hooks, page), re.MULTILINE))
    assert text.count("<details>") >= solutions
    assert text.count("<details>") == text.count("</details>")
    folded = [cell for cell in notebook["cells"] if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    indented = [found for found in hooks[0].BLOCK.finditer(text_of(hooks, page)) if found["indent"]]
    assert len(folded) == len(indented)


@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="not installed: IPython")
@pytest.mark.parametrize("page", RUN)
def test_a_notebook_runs_by_itself_and_displays_figures_and_prose(hooks, page, tmp_path):
    notebook, said = tmp_path / "page.ipynb", tmp_path / "said.json"
    notebook.write_text(json.dumps(notebook_of(hooks, page)), encoding="utf-8")
    (tmp_path / "run.py").write_text(RUNNER)
    done = subprocess.run(
        [sys.executable, "run.py", notebook, said], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(said.read_text())
    figures = [each["text/html"] for each in shown if "text/html" in each]
    assert len(figures) == text_of(hooks, page).count('html="on"')
    assert all("data:image/png;base64," in figure for figure in figures)
    if page.endswith("course.md"):
        right, wrong = ("对了。", "还不对。") if page.startswith("zh/") else ("Right. ", "Not yet. ")
        prose = [each["text/markdown"] for each in shown if "text/markdown" in each]
        assert any(each.startswith("**kl-2.** ") for each in prose)
        answers = [each["text/plain"] for each in shown if each["text/plain"].startswith((right, wrong))]
        exercises = len(re.findall("^ask", text_of(hooks, page), re.MULTILINE))
        assert sum(each.startswith(right) for each in answers) == exercises
        assert sum(each.startswith(wrong) for each in answers) == exercises + 1  # and the page's own example


def test_every_page_leads_to_its_notebook(hooks, tmp_path_factory):
    site = built_once(tmp_path_factory)
    for page in PAGES:
        at = (site / page).with_suffix("")
        assert f'href="../{at.name}.ipynb" download' in (at / "index.html").read_text()
        assert json.loads(at.with_suffix(".ipynb").read_text()) == notebook_of(hooks, page)


def test_a_figure_that_cannot_be_displayed_is_refused(hooks):
    page = '# a\n\n```python exec="on" html="on" session="s"\nprint("<svg>")\n```\n'
    with pytest.raises(ValueError, match="shown otherwise"):
        hooks[1].notebook_of_page(page)


def test_notes_solutions_and_formulas_are_written_as_jupyter_reads_them(hooks):
    page = (
        "# a\n\nOne[^x] of [two](b.md#c), and [three](https://example.org).\n\n```math\na &= b \\\\\n&= c\n```\n\n"
        '??? success "Solution"\n\n    Four.\n\n    ```python exec="on" session="s"\n    print(5)\n    ```\n\nSix.\n\n'
        "[^x]: Seven.\n"
    )
    text = "\n".join(sources(json.loads(hooks[1].notebook_of_page(page)), "markdown"))
    assert "One<sup>1</sup> of two, and [three](https://example.org)." in text
    assert "$$\n\\begin{aligned}\na &= b \\\\\n&= c\n\\end{aligned}\n$$" in text
    assert "<details><summary>Solution</summary>\n\nFour.\n\n</details>\nSix." in text
    assert text.endswith("<sup>1</sup> Seven.")
