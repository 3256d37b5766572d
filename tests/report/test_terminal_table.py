"""Every table on a terminal of any width: no number, name or verdict is cut or broken."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from vi_kl.core.progress import Bar
from vi_kl.demo.worms.article import Article, Figure
from vi_kl.demo.worms.run import print_article
from vi_kl.report.detection import rates, show_detection
from vi_kl.report.tables import Table
from vi_kl.report.terminal import print_heading, progress_bar
from vi_kl.report.terminal_table import TerminalTable
from vi_kl.workflows.detection import DETECTORS, DetectionTable
from vi_kl.workflows.planted_failures import FAILURES, HEALTHY

PACKAGE = Path(__file__).parents[2] / "vi_kl"
WIDTHS = [40, 60, 80, 100, 120, 200]
DETECTION = DetectionTable(
    {f.name: {d.name: (i * 7 + j * 11) % 101 / 100 for i, d in enumerate(DETECTORS)}
     for j, f in enumerate((HEALTHY, *FAILURES))}, 20,
)  # fmt: skip
COMPARISON = Table(
    ("q", "ELBO [nats]", "KL(q||p)", "label", "k-hat", "s"),
    (
        ("full rank*", "-1234.567 ± 0.001", "0.6940 ± 0.0006", "estimated", "0.71", "12.3"),
        ("AutoMultivariateNormal", "-1234.5 ± 0.1", "-0.0030 ± 0.0004 (impossible)", "unknown", "flat", "1,100.3"),
        ("map", "-inf", "inf", "exact", "inf", "0.1"),
    ),
    ("what it says",) * 6,
)
CODE_LENGTHS = Table(
    ("with", "the exact posterior", "the best q adds"),
    (
        ("no model, all counts equally likely", "3,459.4", ""),
        ("Two kinds of worms", "3,111.2", "+0.00012 autoregressive flow"),
        ("1,000 x entropy: histogram known already", "3,120.1", ""),
    ),
    ("what it says",) * 3,
)
FIGURES = (
    Figure("KL(observed || binomial), p = mean/10", "0.477", 0.4772),
    Figure("p that minimises KL(observed || binomial)", "0.57", 0.5701, ""),
    Figure("entropy of the observed distribution", "3.12", 3.3),
)
TABLES = {
    "detection": rates(DETECTION),
    "comparison": TerminalTable(COMPARISON, inside=True),
    "code lengths": TerminalTable(CODE_LENGTHS, "bits to send 1,000 worms", left=(0, 2)),
    "one column": TerminalTable(Table(("only",), (("a b",),), ("what it says",))),
    "no rows": TerminalTable(Table(("q", "KL(q||p)"), (), ("what it says",) * 2)),
}


def printed(*things, width):
    written = io.StringIO()
    Console(file=written, width=width).print(*things)
    return written.getvalue()


def check_lines(shown, width):
    assert "…" not in shown
    assert "..." not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_columns_are_put_closer_before_a_table_is_split():
    columns = ("", "mean", "sd", "5%", "50%", "95%", "mean error [sd]", "sd ratio")
    row = ("effect[São Paulo]", "-0.610", "0.407", "-1.280", "-0.609", "0.066", "-0.00", "1.00")
    table = TerminalTable(Table(columns, (row,), ("what it says",) * 8), inside=True)
    for width, rows in ((120, 1), (76, 1), (68, 1), (60, 2)):
        shown = printed(table, width=width)
        check_lines(shown, width)
        assert sum("effect" in line for line in shown.splitlines()) == rows
    assert "-0.610   0.407" in printed(table, width=120)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_words_wrap_and_numbers_do_not(name, width):
    terminal = TABLES[name]
    shown = printed(terminal, width=width)
    check_lines(shown, width)
    words = shown.replace(":", " ").split()
    for row in (terminal.table.columns, *terminal.table.rows):
        for place, cell in enumerate(row):
            text = cell.plain if isinstance(cell, Text) else cell
            if row is terminal.table.columns and place == 0 and name == "comparison":
                continue  # a block begins with the name itself
            for word in text.replace(":", " ").split():
                assert words.count(word) >= 1, word
            if place not in terminal.left:
                assert text.split(" (")[0] in shown or row is terminal.table.columns


@pytest.mark.parametrize("width", WIDTHS)
def test_each_number_stands_in_its_row_and_under_its_title(width):
    """Every column has a title of its own and every cell a number of its own: each is found once for each row."""
    columns = tuple(f"title{j}" for j in range(12))
    rows = tuple((f"row{i}", *(f"{i}.{j:02d}123" for j in range(1, 12))) for i in range(3))
    lines = printed(TerminalTable(Table(columns, rows, columns)), width=width).splitlines()
    titles: list[tuple[str, int]] = []
    found = set()
    for line in lines:
        if "title" in line:
            titles = [(m.group(), m.end()) for m in re.finditer(r"title\d+", line)]
        for m in re.finditer(r"(\d)\.(\d\d)123", line):
            assert f"row{m[1]}" in line
            assert (f"title{int(m[2])}", m.end()) in titles
            found.add(m.group())
    assert len(found) == 33


def test_a_table_that_has_room_is_one_table_and_titles_wrap_before_names():
    assert printed(TABLES["detection"], width=240).count("diagnostic") == 1
    assert "limit above evidence" in printed(TABLES["detection"], width=240)
    assert printed(TABLES["detection"], width=80).count("diagnostic") > 1
    assert printed(TABLES["comparison"], width=100).count("k-hat") == 1


def test_rows_become_blocks_where_no_two_columns_have_room():
    shown = printed(TABLES["comparison"], width=40)
    assert "AutoMultivariateNormal\n" in re.sub(" +\n", "\n", shown)
    assert "  ELBO [nats]: -1234.567 ± 0.001" in shown


@pytest.mark.parametrize("width", WIDTHS)
def test_the_self_test_and_the_article_as_they_are_printed(width):
    written = io.StringIO()
    console = Console(file=written, width=width)
    show_detection(DETECTION, False, console)
    print_article(console, Article(FIGURES, 0.57, 0.55, 0.47, {}), "bits")
    print_heading("A heading that is longer than a narrow terminal is wide", console)
    check_lines(written.getvalue(), width)
    for text in ("77%", "0.4772", "0.570", "3.300", "bits", "✓", "✗", "A heading"):
        assert text in written.getvalue()
    assert "than a narrow terminal" in " ".join(written.getvalue().split())


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_keep_their_numbers_and_names(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console(file=io.StringIO(), width=width)
    bar = progress_bar(console)
    bar.add_task("Fitting and checking", total=28)
    one = Bar("check of full_rank")
    one.show(0.35, "weighing draws of wider densities")
    one.bar.stop()
    shown = printed(bar.get_renderable(), one.bar.get_renderable(), width=width)
    check_lines(shown, width)
    for text in ("0/28", "0:00:00", "35%", "check of full_rank", "checking"):
        assert text in shown


def test_every_table_and_rule_is_one_of_these():
    texts = {path.name: path.read_text() for path in PACKAGE.rglob("*.py")}
    users = {name for name, text in texts.items() if re.search(r"rich\.table import .*\bTable\b", text)}
    rules = {name for name, text in texts.items() if "console.rule(" in text}
    assert users == {"terminal_table.py"}
    assert rules == {"terminal.py"}


def test_a_chinese_character_takes_two_places_of_the_terminal():
    table = Table(
        ("数值", "这里", "单位"),
        (("观测分布的熵", "3.121", "比特"), ("两块模型：它的散度", "0.3378", "比特")),
        ("what it says",) * 3,
    )
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(TerminalTable(table, left=(0, 2)))
    printed = console.file.getvalue()
    assert printed.count("比特") == 2
    assert "两块模型：它的散度" in printed
