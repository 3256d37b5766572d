"""Results are a line at the prompt, and whole in a notebook, with what failed in them."""

import html

import numpy as np
import pytest
from programs import exponential_rate

import vi_kl
from vi_kl.core.records import Readable
from vi_kl.report.figures import subplots
from vi_kl.targets import Target
from vi_kl.workflows.detection import DetectionTable, detection_table
from vi_kl.workflows.planted_failures import HEALTHY

TARGET = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]))
LINE = 300


@pytest.fixture(scope="module")
def results():
    fit, reference = vi_kl.fit(TARGET, "laplace", key=0), vi_kl.find_reference(TARGET)
    return {
        "Certificate": vi_kl.check(fit, reference, key=0),
        "ReferencePosterior": reference,
        "Comparison": vi_kl.compare(TARGET, ["laplace", "svgd"], key=0),
        "Gap": vi_kl.explain_gap(fit, reference, key=0),
        "DetectionTable": detection_table(1, [HEALTHY]),
        "Fit": fit,
    }


@pytest.mark.parametrize("name", ["Certificate", "ReferencePosterior", "Comparison", "Gap", "DetectionTable"])
def test_a_line_at_the_prompt_and_all_of_it_in_a_notebook(name, results):
    result = results[name]
    assert isinstance(result, Readable)
    assert repr(result).startswith(f"<{name}: ")
    assert len(repr(result)) < LINE
    assert "\n" not in repr(result)
    page = result._repr_html_()
    assert page.startswith("<")
    if "<table" not in page:
        assert html.escape(str(result)) in page


def test_a_fit_its_target_and_a_number_are_shown_in_a_notebook(results):
    fit, number = results["Fit"], results["Certificate"].elbo
    for shown, words in (
        (fit, ("Fit: laplace of exponential_rate", str(fit.status), f"{fit.cost.gradient_evaluations} gradients")),
        (TARGET, ("Target: the posterior of exponential_rate", "rate", "length of z")),
        (TARGET.with_reference(vi_kl.find_reference), ("computed when it is first asked for",)),
        (TARGET.with_reference(results["ReferencePosterior"]), (results["ReferencePosterior"].headline,)),
        (number, (str(number),)),
    ):
        page = html.unescape(shown._repr_html_())
        assert page.startswith("<p>")
        assert all(each in page for each in words), page


def test_failures_are_not_left_out(results):
    comparison = results["Comparison"]
    assert "svgd" in comparison.failures
    assert "1 left out" in repr(comparison)
    for shown in (str(comparison), html.unescape(comparison._repr_html_())):
        assert f"svgd: left out. {comparison.failures['svgd']}" in shown
    assert repr(DetectionTable({"healthy": {"gap": 0.0}, "missed mode": {"gap": 0.5}}, 4)).endswith(
        "2 cases, 4 times each; not seen: missed mode>"
    )


def test_a_figure_is_shown_without_pyplot():
    figure, axes = subplots(figsize=(2, 1))
    axes.plot([0, 1])
    assert figure._repr_png_().startswith(b"\x89PNG")
