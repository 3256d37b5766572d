"""The picture of the two directions: what is drawn, the figures beside it, and that they can be read."""

import re

import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import project
from vi_kl.report import figures as plots

WEIGHTS = np.array([0.4, 0.6])
TWO_HUMPS = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), dist.Normal(np.array([-3.0, 3.0]), np.array([0.7, 1.0])))
CASES = {"two humps": (TWO_HUMPS, dist.Normal, None), "a histogram": (observed(), dist.Binomial, 2)}


@pytest.fixture(scope="module", params=CASES)
def drawn(request):
    p, family, base = CASES[request.param]
    projections = {name: project(p, family, direction=name, base=base) for name in ("forward", "reverse")}
    with plots.style():
        figure, ax = plots.subplots(figsize=(7.2, 3.6))
        assert plots.plot_projections(ax, p, projections) is ax
        figure.draw_without_rendering()
    return p, projections, ax


def density(p, x):
    """p at x, by SciPy."""
    if isinstance(p, np.ndarray):
        return p[x.astype(int)]
    return 0.4 * scipy.stats.norm.pdf(x, -3, 0.7) + 0.6 * scipy.stats.norm.pdf(x, 3, 1)


def member(params, x):
    if "probs" in params:
        return scipy.stats.binom.pmf(TEETH, 10, params["probs"])
    return scipy.stats.norm.pdf(x, params["loc"], params["scale"])


def test_each_member_is_drawn_where_it_lies(drawn):
    _, projections, ax = drawn
    assert len(ax.lines) == 2
    for line, projection in zip(ax.lines, projections.values(), strict=True):
        x, y = line.get_data()
        seen = ~np.isnan(y)
        np.testing.assert_allclose(y[seen], member(projection.params, x)[seen], rtol=1e-5)
    colours = {line.get_color() for line in ax.lines}
    dashes = {line.get_linestyle() for line in ax.lines}
    assert len(colours) == len(dashes) == 2  # apart without colour, too


def test_the_figures_are_both_divergences_of_each_member(drawn):
    p, projections, ax = drawn
    texts = [text.get_text() for text in ax.texts]
    x = np.linspace(-40, 40, 200_001) if not isinstance(p, np.ndarray) else TEETH
    step = x[1] - x[0]
    for name, projection in projections.items():
        q, reference = member(projection.params, x), density(p, x)
        at = texts.index(name)
        unit = {"nats": 1.0, "bits": np.log(2)}[projection.unit]
        # the lines are written from the bottom up
        for line in texts[at - 2 : at]:
            which, value = re.fullmatch(r"KL\((p‖q|q‖p)\) = ([\d.]+) (?:nats|bits)", line).groups()
            first, second = (reference, q) if which == "p‖q" else (q, reference)
            some = (first > 1e-250) & (second > 1e-300)
            truth = (first[some] * np.log(first[some] / second[some])).sum() * step / unit
            assert float(value) == pytest.approx(truth, abs=0.0051)
        bold = ax.texts[at - 1]
        assert bold.get_fontweight() == "bold"
        assert ("p‖q" in bold.get_text()) == (projection.direction == "forward")


def test_no_label_covers_another(drawn):
    ax = drawn[-1]
    boxes = [text.get_window_extent().shrunk(1, 0.8) for text in ax.texts]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert ax.figure.bbox.contains(*box.min)
        assert ax.figure.bbox.contains(*box.max)
