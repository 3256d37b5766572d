"""Pages of reports: every column has its meaning, and a page says where it comes from, in light, in the dark, on paper.

What a browser makes of them is looked at by people; here are the rules and words on which that rests.
"""

import dataclasses
import datetime
import html
import itertools
import json
import re

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from programs import exponential_rate
from tiers import exhaustive_after

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.core.random_keys import as_key, key_text
from vi_kl.demo.worms.article import Article
from vi_kl.demo.worms.run import article_table, code_length_table, made_by
from vi_kl.report import figures as plots
from vi_kl.report.comparison import comparison_page, write_report
from vi_kl.report.pages import Section, meanings_of, render_page
from vi_kl.report.picture import Picture, draw_picture
from vi_kl.report.provenance import provenance
from vi_kl.report.tables import COLUMNS, Table, comparison_table

WHEN = datetime.datetime(2026, 11, 29, 12, 30, tzinfo=datetime.UTC)
SENTENCE = re.compile(r"\S.{10,}\.", re.DOTALL)
SPACE = 4.0  # points between two numbers of an axis


@pytest.fixture(scope="module")
def compared():
    target = vi_kl.Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))
    return vi_kl.compare(target, ["laplace"], key=5)


@pytest.fixture(scope="module")
def page(compared):
    return comparison_page(compared, made=provenance("a call", {"the fits": compared.key}, WHEN))


def rules(page, query):
    """Return the declarations inside a block `query { ... }` of a page's style."""
    style = page[page.index("<style>") : page.index("</style>")]
    start = style.index(query) + len(query)
    depth, end = 1, style.index("{", start) + 1
    while depth:
        depth += {"{": 1, "}": -1}.get(style[end], 0)
        end += 1
    return style[start:end]


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_has_its_meaning(name):
    column = COLUMNS[name]
    assert SENTENCE.fullmatch(column.meaning)
    assert column.title.partition(" [")[0].lower() not in (column.meaning.lower().rstrip("."), "")


def test_a_table_without_meanings_is_refused():
    with pytest.raises(ValueError, match="Give each of the columns a, b its meaning"):
        Table(("a", "b"), (("1", "2"),), ("the first",))
    with pytest.raises(ValueError, match="meaning"):
        Table(("a",), (("1",),), ("",))


def test_the_meanings_are_on_the_page(compared, page):
    table = comparison_table(compared, "nats", tuple(COLUMNS))
    whole = render_page("t", "l", [Section("s", (), (table,))], made_by("nats", 0, True))
    for shown in (whole, page):
        below = shown[shown.index('id="columns"') :]
        for cell, place in re.findall(r'<th title="([^"]+)"><a href="#(c\d+)">', shown):
            assert f'<dt id="{place}">' in below
            assert f"<dd>{cell}</dd>" in below
    for title, meaning in zip(table.columns, table.meanings, strict=True):
        assert f">{html.escape(title)}</dt><dd>{html.escape(meaning)[:20]}" in whole


def test_the_storys_own_tables_have_meanings():
    tables = (article_table(Article((), 0.5, 0.5, 0.5, {})), code_length_table([], "bits"))
    meanings = meanings_of([Section("s", (), tables)])
    assert meanings.keys() == {title for table in tables for title in table.columns}
    assert all(SENTENCE.fullmatch(meaning) for meaning in meanings.values())


@pytest.mark.landing
def test_a_report_says_when_by_what_and_from_which_keys(compared, tmp_path):
    page = write_report(compared, tmp_path, key=jax.random.key(7), when=WHEN).read_text()
    foot = " ".join(re.sub("<[^>]*>", "", page[page.index("<footer>") :]).split())
    assert foot.startswith("Made 2026-11-29 12:30:00+00:00 by vi_kl.report.write_report(comparison, folder, key=7")
    assert "Key of the fits: 5." in foot
    assert "Key of the draws in the figures: 7." in foot
    made = json.loads((tmp_path / "results.json").read_text())["made"]
    assert made["date"] == "2026-11-29 12:30:00+00:00"
    assert made["keys"] == {"the fits": "5", "the draws in the figures": "7"}
    for package in ("vi_kl", "jax", "numpyro", "python"):
        assert f"{package} {made['versions'][package]}" in foot
    again = write_report(compared, tmp_path / "again", key=7, when=WHEN).read_text()
    assert again == page  # to the last byte, figures included


def test_the_present_time_is_stated_by_default(compared):
    before = datetime.datetime.now().astimezone().replace(microsecond=0)
    stated = re.search(r"Made ([\d-]+ [\d:+]+) by", comparison_page(compared))[1]
    assert before <= datetime.datetime.fromisoformat(stated) <= datetime.datetime.now().astimezone()
    assert "Key of the fits: <code>unknown</code>" in comparison_page(dataclasses.replace(compared, key=None))


def test_the_command_of_the_story():
    made = made_by("bits", 3, quick=True)
    assert made.call == "vi-kl worms --base bits --seed 3 --quick"
    assert made.keys == {"everything random": "3"}


@pytest.mark.parametrize("kind", ["small", "large", "negative", "split", "of another kind"])
def test_the_text_of_a_key_makes_the_key_again(kind):
    key = {
        "small": 0,
        "large": 2**40 + 3,
        "negative": -1,
        "split": jax.random.split(jax.random.key(2))[1],
        "of another kind": jax.random.key(4, impl="rbg"),
    }[kind]
    text = key_text(key)
    again = as_key(int(text)) if text.isdigit() else eval(text, {"jax": jax, "numpy": np})
    assert again.dtype == as_key(key).dtype
    np.testing.assert_array_equal(jax.random.key_data(again), jax.random.key_data(as_key(key)))


def test_a_page_follows_the_scheme_of_the_system(page):
    assert "color-scheme: light dark" in page
    dark = rules(page, "@media screen and (prefers-color-scheme: dark)")
    variables = re.findall(r"(--\w+):", rules(page, "  :root"))
    assert {"--paper", "--ink"} <= set(variables)
    assert all(f"{name}:" in dark for name in variables)
    colours = re.sub(r"--\w+: [^;]+;", "", page[page.index("<style>") : page.index("</style>")])
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", colours)) == {"#fff"}  # that of the figures' paper
    assert re.search(r"\.drawing \{ background: #fff;", page)


def test_a_page_can_be_printed(page):
    paper = rules(page, "@media print")
    for rule in (".scroll, .drawing { overflow: visible; }", "white-space: normal;", "max-height:", "font-size: 7.5pt"):
        assert rule in paper
    uncut = re.search(r"([^{}]*)\{ break-inside: avoid; \}", paper)[1]
    assert {"figure", "tr", ".scroll"} <= {each.strip() for each in uncut.split(",")}


def test_figures_and_tables_scroll_in_their_own_boxes(compared):
    with plots.style():
        fig, ax = plots.subplots(figsize=(7.2, 2))
        plots.plot_trace(ax, [], 1.0, "nats")
        picture = draw_picture("a", "An <empty> figure", "Nothing.", fig)
    page = comparison_page(compared, [picture])
    assert ".scroll, .drawing { overflow-x: auto; }" in page
    assert re.search(r'<div class="scroll"[^>]*><table>', page)
    assert re.search(r'<div class="drawing" role="img" aria-label="An &lt;empty&gt; figure"[^>]*><svg', page)
    narrow = rules(page, "@media screen and (max-width: 44rem)")
    assert ".drawing svg { max-width: none; }" in narrow


def test_a_picture_in_the_documentation_is_in_a_box_that_scrolls():
    shown = Picture("a", 'The "first"', "A < B.", "<svg/>", b"png").to_html()
    assert re.fullmatch(r'<figure><div class="drawing"><img alt="The &quot;first&quot;" src="data:image/png.*', shown)
    assert shown.endswith("<figcaption>A &lt; B.</figcaption></figure>")


@pytest.mark.parametrize("low", [1e-6, 0.011, 0.2, 0.93])
@pytest.mark.parametrize("decades", exhaustive_after(4, [0.1, 1.0, 2.6, 9.0, 0.02, 0.3, 0.7, 1.6, 2.4, 5.0]))
def test_the_numbers_of_a_log_axis_do_not_touch(low, decades):
    figure = Figure(figsize=(7.2, 1.5), layout="constrained")
    ax = figure.subplots()
    ax.set(xscale="log", xlim=(low, low * 10**decades))
    plots.label_log_axis(ax.xaxis)
    assert_apart(figure, ax)


def assert_apart(figure, ax):
    figure.draw_without_rendering()
    low, high = ax.get_xlim()
    labels = [each for each in ax.get_xticklabels(which="both") if each.get_text()]
    labels = [each for each in labels if low <= each.get_position()[0] <= high]
    assert 2 <= len(labels) <= 13
    boxes = sorted((each.get_window_extent() for each in labels), key=lambda box: box.x0)
    for left, right in itertools.pairwise(boxes):
        assert right.x0 - left.x1 > SPACE * figure.dpi / 72


def test_the_divergences_of_one_decade_can_be_told_apart(compared):
    figure = Figure(figsize=(7.2, 1.6), layout="constrained")
    ax = figure.subplots()
    values = [0.14, 0.22, 0.31, 0.62]
    close = [dataclasses.replace(compared.certificates[0], reverse_kl=Estimate(x, 0.01, "x")) for x in values]
    assert_apart(figure, plots.plot_reverse_kl(ax, close, "nats"))
    assert_apart(figure, ax)
