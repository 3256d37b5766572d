"""Figures in the style of Chinese pages: their own words are Chinese, each is drawn, and none is left over."""

import ast
import re
import warnings
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest

from vi_kl.divergences import project
from vi_kl.report import figures as plots
from vi_kl.report.figures import words

CJK = re.compile(r"[\u4e00-\u9fff]")
SITE = {"mean_field": np.random.default_rng(0).normal(size=(500, 3))}


@pytest.fixture
def chinese():
    try:
        return plots.style("zh")
    except plots.languages.NoFontError as error:
        pytest.skip(str(error))


def texts_of(figure):
    """Return all that is written on a figure, its marks at the axes apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a character that no font has
        figure.draw_without_rendering()
    found = [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.xaxis.label, ax.yaxis.label)]
    return found + [label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]]


def drawn():
    """Draw a projection, a vector under a posterior, and a trace."""
    figure, (left, middle, right) = plots.subplots(1, 3, figsize=(12.0, 3.6))
    q = project(dist.StudentT(5.0), dist.Normal, base=2)
    plots.plot_projections(left, dist.StudentT(5.0), {"q": q})
    plots.plot_many_means(middle, np.zeros(3), np.ones(3), SITE, "x")
    plots.plot_trace(right, [], -3.0, "nats")
    return texts_of(figure)


def test_figures_write_chinese_in_a_chinese_style_and_english_after_it(chinese):
    with chinese:
        texts = drawn()
    for words_of in ("= 0.", "比特", "精确后验 ±1 个标准差", "与精确均值之差 [后验标准差]", "对数证据 − ELBO [奈特]"):
        assert any(words_of in text for text in texts), (words_of, texts)
    assert not any(re.search(r"\b(bits|nats|posterior|evidence|iteration)\b", text) for text in texts)
    with plots.style():
        assert not any(CJK.search(text) for text in drawn())


def test_every_sentence_is_said_and_has_its_figures_in_both_languages():
    folder = Path(words.__file__).parents[1]
    files = [*Path(words.__file__).parent.glob("*.py"), folder / "comparison_figures.py"]
    written = set()
    for path in files:
        if path.name != "words.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            written |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert words.CHINESE.keys() - written <= {"bits", "nats"}  # these are units of estimates
    for english, chinese in words.CHINESE.items():
        assert re.findall(r"\{\w*\}", english) == re.findall(r"\{\w*\}", chinese), english
