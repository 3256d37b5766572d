"""A person's own comparison as a table, in a terminal, as pictures and as a page; with a reference or without."""

import dataclasses
import html
import io
import json
import math
import re

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from matplotlib.figure import Figure
from numpyro.infer.autoguide import AutoNormal
from programs import exponential_rate
from rich.console import Console

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.gap import Gap, NormalParts
from vi_kl.draws.excerpt import shown
from vi_kl.reference import reference_by_quadrature
from vi_kl.report import figures as plots
from vi_kl.report.comparison import comparison_page, write_report
from vi_kl.report.comparison_figures import draw_pictures, draw_traces, plot_gaps_of
from vi_kl.report.draws import draw_sites_of
from vi_kl.report.figures.marginals import density, range_of
from vi_kl.report.figures.pairs import region
from vi_kl.report.tables import COLUMNS, EIGHTY_CHARACTERS, Table, comparison_table, cost_table, evidence, notes, number
from vi_kl.report.terminal import print_comparison
from vi_kl.report.terminal_table import TerminalTable
from vi_kl.workflows.members import all_in_a_call, members_of
from vi_kl.workflows.ranking import Ranking

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def regression(x, y):
    slopes = numpyro.sample("slopes", dist.Normal(0, 2).expand([2]).to_event(1))
    noise = numpyro.sample("noise", dist.HalfNormal(1))
    numpyro.sample("y", dist.Normal(x @ slopes, noise), obs=y)


@pytest.fixture(scope="module")
def known():
    """One positive number with a reference: an approximation, a point, a method that does not suit, particles."""
    target = vi_kl.Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]), reference=reference_by_quadrature)
    return vi_kl.compare(target, ["laplace", "map", "flow"], key=0)


@pytest.fixture(scope="module")
def unknown():
    """A vector, whose entries have names, and a number without a reference."""
    x = np.random.default_rng(0).standard_normal((20, 2))
    y = x @ [1.0, -0.5] + 0.3 * np.random.default_rng(1).standard_normal(20)
    target = vi_kl.Target.from_numpyro(regression, x, y).with_coords({"slopes_dim_0": ["rain", "Łódź"]})
    return vi_kl.compare(target, ["laplace", "full_rank"], key=0)


def test_a_table_has_the_figures_of_the_certificates(known):
    for unit in ("nats", "bits"):
        table = comparison_table(known, unit)
        assert f"ELBO [{unit}]" in table.columns
        cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        assert [row["q"].rstrip("*") for row in cells] == ["laplace", "map"]
        kl = known.certificates[0].reverse_kl.to(unit).value
        assert float(cells[0]["KL(q||p)"].split(" ±")[0]) == pytest.approx(kl, rel=1e-3)
        assert cells[1]["KL(q||p)"] == "inf"
        assert cells[1]["mean error [sd]"] == "-"  # a point has none
        assert float(cells[0][f"ELBO [{unit}]"].split(" ±")[0]) == pytest.approx(
            known.certificates[0].elbo.to(unit).value, abs=0.05
        )
    assert all("{" not in title for title in comparison_table(known, columns=tuple(COLUMNS)).columns)
    with pytest.raises(ValueError, match="No column 'elpd': choose from name, elbo"):
        comparison_table(known, columns=("elpd",))


@pytest.mark.landing
def test_a_ranked_table_begins_with_the_highest_elbo_and_marks_what_cannot_be_told_apart(unknown):
    asked = comparison_table(unknown, columns=("name", "behind"))
    assert [row[0] for row in asked.rows] == ["laplace", "full rank"]
    ranked = comparison_table(unknown, columns=("name", "behind"), ranked=True)
    assert [row[0] for row in ranked.rows] == ["full rank", "laplace"]
    assert ranked.rows[0][1] == "0"
    assert not ranked.rows[1][1].endswith("~")
    even = Ranking(("full_rank", "laplace"), (Estimate(0.0), Estimate(0.1, 0.1)), 100)
    assert comparison_table(dataclasses.replace(unknown, ranking=even)).rows[0][2] == "0.1 ± 0.1 ~"


def test_notes_say_what_a_table_does_not(known, unknown):
    words = notes(known)
    assert any(line.startswith("map: q is a point") for line in words)
    assert any(line.startswith("flow: left out. ") for line in words)
    assert not any(line.startswith("laplace: ") for line in words)  # close, and found so
    assert not any("q is a point" in line for line in notes(known, omit=known.certificates))
    lost = dataclasses.replace(unknown.certificates[0], reverse_kl=None)
    doubtful = dataclasses.replace(unknown, certificates=(lost, *unknown.certificates[1:]))
    assert any(line.startswith("laplace: The distance to the posterior is unknown") for line in notes(doubtful))


@pytest.mark.parametrize(
    ("estimate", "shown", "as_evidence"),
    [
        (Estimate(0.12345, 0.0021), "0.123 ± 0.002", "0.123 ± 0.002"),
        (Estimate(12345.678, 0.02), "12346", "12345.68 ± 0.02"),
        (Estimate(-12345.678, 0.02), "-12346 (impossible)", "-12345.68 ± 0.02"),
        (Estimate(1e-9), "1e-09", "0.000"),
        (Estimate(1.2345678e-9, 1e-17), "1.2e-09", "0.00000"),
        (Estimate(2e-5, 3e-5, "Monte Carlo"), "0.00002 ± 0.00003", "0.00002 ± 0.00003"),
        (Estimate(-0.0003, 0.0004, "Monte Carlo"), "0.0000 ± 0.0004", "-0.0003 ± 0.0004"),
        (Estimate(0.0012345, 9e-7), "0.0012345 ± 9e-07", "0.00123"),
        (Estimate(-1e-17), "0 ± 1e-17", "0.000"),
        (Estimate(math.inf), "inf", "inf"),
        (Estimate(-math.inf), "-inf (impossible)", "-inf"),
        (Estimate(math.nan), "NaN", "NaN"),
    ],
)
def test_numbers_in_cells(estimate, shown, as_evidence):
    assert number(estimate, "nats") == shown
    assert evidence(estimate, "nats") == as_evidence
    assert number(None, "nats") == "-"


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_a_terminal_shows_it_in_eighty_characters(known, unknown, unit):
    for comparison in (known, unknown):
        written = io.StringIO()
        print_comparison(comparison, unit, Console(file=written, width=80))
        shown = written.getvalue()
        assert max(map(len, shown.splitlines())) <= 80
        table = comparison_table(comparison, unit, EIGHTY_CHARACTERS)
        for text in (*table.columns, *(cell for row in table.rows for cell in row)):
            assert text in shown
        for line in notes(comparison):
            assert line.split(".")[0] in " ".join(shown.split())


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_a_terminal_of_any_width_shows_every_number(known, unknown, width):
    for comparison in (known, unknown):
        written = io.StringIO()
        print_comparison(comparison, "bits", Console(file=written, width=width))
        shown = written.getvalue()
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= width
        for row in comparison_table(comparison, "bits", EIGHTY_CHARACTERS).rows:
            for cell in row:
                assert cell in shown


def test_divergences_below_zero_are_shown_as_what_they_are(known):
    """The frame keeps the numbers; what is printed of it does not make a divergence of them that there cannot be."""
    one, *others = known.certificates
    within = dataclasses.replace(one, reverse_kl=Estimate(-0.0003, 0.0004), forward_kl=Estimate(-1e-17))
    beyond = dataclasses.replace(one, reverse_kl=Estimate(-0.3, 0.0004))
    for changed, cell in ((within, "0"), (beyond, "-0.3 (impossible)")):
        comparison = dataclasses.replace(known, certificates=(changed, *others))
        frame = comparison.to_dataframe()
        assert frame.loc[one.name, "KL(q||p) [nats]"] == changed.reverse_kl.value
        line = next(line for line in str(comparison).splitlines() if line.startswith(one.name))
        assert f" {cell} " in line
        assert "e-17" not in line
        assert f"<td>{cell}</td>" in comparison._repr_html_()


def test_a_terminal_takes_brackets_literally():
    written = io.StringIO()
    table = Table(("q", "sd [bits]"), (("[red]x[/]", "1"),), ("a name", "a width"))
    Console(file=written, width=80).print(TerminalTable(table, title="a"))
    assert "sd [bits]" in written.getvalue()
    assert "[red]x[/]" in written.getvalue()
    assert table.choose([1]) == Table(("sd [bits]",), (("1",),), ("a width",))


def test_pictures_of_a_comparison_with_a_reference(known):
    draws = draw_sites_of(known, 1, 4000)
    assert draws.exact["rate"].shape == draws.approximations["map"]["rate"].shape == (4000,)
    pictures = {picture.name: picture for picture in draw_pictures(known, draws, "bits")}
    assert "Not shown: map" in pictures["divergences"].caption
    assert "exact posterior" in pictures["posteriors"].svg
    assert pictures["posteriors"].png.startswith(b"\x89PNG")


def test_pictures_of_a_comparison_without_a_reference(unknown):
    draws = draw_sites_of(unknown, 1, 4000)
    assert draws.exact is None
    posteriors = next(p for p in draw_pictures(unknown, draws) if p.name == "posteriors")
    assert "is not known" in posteriors.caption
    assert "Łódź" in posteriors.svg
    assert "entry" not in posteriors.svg  # entries without names are counted
    assert "exact" not in posteriors.svg


def test_what_has_no_density_is_drawn_all_the_same():
    ax = Figure().subplots()
    plots.plot_marginal(ax, None, {"map": np.full(100, 2.0)}, "x")
    assert [line.get_xdata()[0] for line in ax.lines] == [2.0]
    piled = np.concatenate([np.zeros(300), np.linspace(0, 1, 700), [np.inf]])
    assert np.isfinite(density(piled, np.linspace(-0.5, 1.5, 100))).all()


def test_two_fits_of_one_name_are_both_drawn(known):
    twice = dataclasses.replace(
        known, fits=(known.fits[0], known.fits[0]), certificates=(known.certificates[0], known.certificates[0])
    )
    assert list(draw_sites_of(twice, 1, 10).approximations) == ["laplace", "laplace (2)"]


def test_a_trace_without_evidence_shows_the_loss(unknown):
    stepped = [fit for fit in unknown.fits if len(fit.history.loss)]
    assert stepped
    ax = plots.plot_trace(Figure().subplots(), stepped, None, "nats")
    assert ax.get_ylabel() == "−ELBO [nats]"
    assert ax.get_ylim()[0] <= min(min(line.get_ydata()) for line in ax.lines)


def test_a_trace_of_another_loss_is_no_distance(unknown):
    stepped = next(fit for fit in unknown.fits if len(fit.history.loss))
    other = dataclasses.replace(stepped, algorithm=vi_kl.SVI(vi_kl.MeanField(), vi_kl.objectives.Renyi(0.5)))
    alone = dataclasses.replace(unknown, fits=(other,), certificates=unknown.certificates[:1])
    assert draw_traces(alone, "nats") is None
    both = dataclasses.replace(unknown, fits=(other, stepped))
    caption = draw_traces(both, "nats").caption
    assert "Not shown: " in caption
    assert "another than the ELBO's" in caption


def test_a_report_is_a_page_figures_and_numbers(known, tmp_path):
    page = write_report(known, tmp_path / "report", key=1, unit="bits")
    text = page.read_text()
    assert page == tmp_path / "report" / "index.html"
    assert text.count("<svg") == len(list((tmp_path / "report" / "figures").glob("*.svg"))) >= 2
    for outside in ('src="http', "<link", "<script", "@import"):
        assert outside not in text
    words = " ".join(re.sub("<[^>]*>", " ", text).split())
    for part in ("exponential_rate", "ELBO [bits]", "flow: left out", "It cannot see:", "laplace (exact)"):
        assert part in words
    numbers = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [c["name"] for c in numbers["certificates"]] == ["laplace", "map"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_report(known, tmp_path / "file", key=1)


def test_a_page_has_the_parameters_as_the_one_that_is_recommended_has_them(unknown, tmp_path):
    page = html.unescape(unknown.to_html(tmp_path / "page.html", key=1).read_text())
    assert page.index("Which to take") < page.index("What the parameters are") < page.index("Figures")
    found = re.search(r"<td[^>]*>\s*slopes\[Łódź\]\s*</td>\s*<td[^>]*>\s*(-?[\d.]+)", page)
    assert abs(float(found[1]) + 0.5) < 0.3
    assert "slopes[rain]" in page.split("Figures")[-1]  # in a figure's labels


def test_long_sites_that_are_computed_leave_room_for_the_latent_ones():
    names = [*(f"theta[{i}]" for i in range(30)), *(f"rate[{i}]" for i in range(20)), "ratio", "scale"]
    assert shown(names, {"rate", "ratio"}, 40) == [*range(30), 50, 51]
    assert shown(names, {"rate", "ratio"}) == [*range(52)]
    assert shown(["scale", *(f"theta[{i}]" for i in range(90))], (), 40) == [*range(21)]


def test_the_folder_offers_them_by_name():
    assert vi_kl.report.write_report is write_report
    assert vi_kl.report.print_comparison is print_comparison
    assert sorted(vi_kl.report.SOURCES) == sorted(vi_kl.report.__all__)
    with pytest.raises(AttributeError, match="no attribute 'poster'"):
        vi_kl.report.poster  # noqa: B018


def test_a_page_of_failures_alone():
    target = vi_kl.Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 1)
    failed = vi_kl.compare(target, ["flow"], key=0)
    assert draw_pictures(failed, draw_sites_of(failed, 0, 10)) == []
    page = comparison_page(failed, title="Nothing <fits>")
    assert "flow: left out" in page
    assert "Nothing &lt;fits&gt;" in page
    print_comparison(failed, console=Console(file=io.StringIO(), width=80))


def test_a_region_holds_its_share_of_a_normal():
    """The ellipse that holds a share s of a normal has the area 2 pi sqrt(det) (-log(1 - s))."""
    covariance = np.array([[1.0, -1.2], [-1.2, 4.0]])
    draws = np.random.default_rng(0).multivariate_normal([1.5, 3.0], covariance, 65_536)
    x, y, height, levels = region(draws, np.array([-5.0, -6.0]), np.array([5.0, 12.0]), (0.5, 0.9))
    cell = (x[1] - x[0]) * (y[1] - y[0])
    areas = [np.sum(height > level) * cell for level in levels]
    expected = [-2 * np.pi * np.sqrt(np.linalg.det(covariance)) * np.log(1 - share) for share in (0.9, 0.5)]
    np.testing.assert_allclose(areas, expected, rtol=0.05)  # smoothing by a sixth of the sd widens it by 3%
    assert height[np.argmin(np.abs(y - 3.0)), np.argmin(np.abs(x - 1.5))] > levels[1]  # rows are the second number


def test_pairs_show_numbers_before_entries_and_weights_those_with_a_density(known, unknown):
    figure = unknown.plot_pairs()
    assert len(figure.axes) == 6
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()] == ["noise", "slopes[rain]", "slopes[Łódź]"]
    assert len(known.plot_pairs().axes) == 1
    ax = known.plot_weights()
    assert [line.get_label().split(",")[0] for line in ax.lines[1:]] == ["laplace"]  # a point has no weights
    assert f"k-hat {known.certificates[0].k_hat:.2f}" in ax.lines[1].get_label()


def test_an_axis_is_framed_by_the_posterior_or_the_nearest_q_and_not_by_a_long_tail():
    rng = np.random.default_rng(3)
    p, wide, beside = rng.standard_normal(10_000), 50 * rng.standard_normal(10_000), 3 + rng.standard_normal(10_000)
    low, high = range_of(p, {"laplace": wide, "flow": p}, None)
    assert -7 < low < -3 < 3 < high < 7
    low, high = range_of(p, {"flow": beside}, None)
    assert (round(low), round(high)) == (-3, 5)  # 2% of it are beyond 5.05
    assert range_of(None, {"laplace": wide, "flow": p}, "flow") == range_of(p, {"laplace": wide, "flow": p}, None)
    low, high = range_of(None, {"laplace": wide, "flow": p}, None)
    assert low < -100 < 100 < high
    cauchy = rng.standard_cauchy(10_000)
    assert range_of(cauchy, {}, None) == pytest.approx((-13, 13), abs=1)  # six times 2 beyond the quartiles at -1 and 1
    assert range_of(np.full(9, 2.0), {}, None) == (1.5, 2.5)


def test_gaps_are_bars_of_their_parts_in_the_unit_asked_for():
    normal = NormalParts(*map(Estimate, (0.1, 0.2, 0.3, -0.4)))
    whole = Gap("full_rank", Estimate(2.0, 0.1), family=Estimate(1.5), optimisation=Estimate(0.5), normal=normal)
    part = Gap("flow", None, optimisation=Estimate(0.25))
    figure = plot_gaps_of([whole, part], "bits")
    left, right = ([round(bar.get_width() * np.log(2), 9) for bar in ax.patches] for ax in figure.axes)
    assert left == [1.5, 0.5, 0.25]
    assert right == [0.1, 0.2, 0.3, -0.4]
    names = [label.get_text().splitlines() for label in figure.axes[0].get_yticklabels()]
    assert names == [["full rank", "2.89 ± 0.14 bits"], ["flow", "unknown"]]


def test_a_comparison_explains_its_gaps_and_draws_them_and_its_traces(known, unknown):
    gaps = known.explain_gaps(3)
    assert [gap.name for gap in gaps] == ["laplace"]  # a point has none
    assert gaps[0].total.value == pytest.approx(known.certificates[0].reverse_kl.value, abs=0.02)
    assert len(known.plot_gaps(3).axes) == 2
    assert [line.get_label() for line in unknown.plot_traces().lines[:1]] == ["full rank"]


def test_what_each_fit_cost_is_a_table(known):
    table = cost_table(known)
    assert table.columns[:3] == ("fit of", "gradients", "densities")
    assert [row[1] for row in table.rows] == [f"{cost.gradient_evaluations:,}" for cost in known.costs]
    checks = [(f"{c.gradient_evaluations:,}", f"{c.density_evaluations:,}") for c in known.certificates]
    assert [row[5:7] for row in table.rows] == checks
    assert any(c.density_evaluations > 1000 for c in known.certificates)


def test_a_page_names_the_call_that_makes_it_again_with_its_failures_in_their_places(known, tmp_path):
    page = html.unescape(known.to_html(tmp_path / "r.html").read_text())
    assert "vi_kl.compare(target, ['laplace', 'map', 'flow'], key=0).to_html('r.html', key=0" in page
    asked = {"mine": known["laplace"], "rival": "flow", "family": vi_kl.MeanField(), "auto": AutoNormal}
    written = all_in_a_call(members_of(known.target, asked))
    assert written == "{'mine': fit, 'rival': 'flow', 'family': MeanField(), 'auto': AutoNormal}"
    shown = comparison_page(known, wording=lambda words: words.replace("Take", "Choose"))
    assert '<p class="answer">Choose laplace' in shown


def test_weights_fall_from_the_left_with_their_mean_at_one():
    _, ax = plots.subplots(figsize=(4, 3))
    log_weight = np.log([1.0, 3.0, 8.0]) + 700.0
    plots.plot_weights(ax, {"laplace": log_weight, "flow": np.zeros(5)}, {"laplace": 0.1, "flow": 0.2})
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [2.0, 0.75, 0.25])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(ax.lines[2].get_ydata(), 1.0)
