"""Comparing approximations: the table, failures that do not take the rest with them, threads that do not matter."""

import dataclasses
import html
import json
import re

import jax
import numpy as np
import pytest
from programs import exponential_rate

import vi_kl
from vi_kl.algorithms import Laplace
from vi_kl.algorithms.algorithm import Algorithm, FitError
from vi_kl.core.errors import ViKLError
from vi_kl.core.records import plain
from vi_kl.reference import reference_by_quadrature
from vi_kl.report.pages import write_atomically
from vi_kl.targets import Target
from vi_kl.targets.numpyro.inspection import ModelError
from vi_kl.workflows.compare import compare
from vi_kl.workflows.ranking import rank

TARGET = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]), reference=reference_by_quadrature)


@pytest.mark.landing
def test_table_and_failures(key):
    table = compare(TARGET, ["laplace", "flow", "mean_field"], key=key)
    frame = table.to_dataframe()
    assert list(frame.index) == ["mean_field", "laplace", "flow"]  # the best reverse KL first, failures last
    assert "at least 2 dimensions" in table.failures["flow"]
    assert list(frame["left out"]) == ["", "", table.failures["flow"]]
    assert "flow: left out" in str(table)
    assert "<table" in table._repr_html_()
    bits = table.to_dataframe("bits")
    np.testing.assert_allclose(bits["KL(q||p) [bits]"], frame["KL(q||p) [nats]"] / np.log(2))


def test_a_comparison_is_a_record_whose_json_leaves_out_the_fits(key):
    table = compare(TARGET, ["laplace", "flow"], key=key)
    found = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert found == {
        "certificates": [json.loads(json.dumps(table.certificates[0].to_dict()))],
        "failures": table.failures,
        "statuses": [{"converged": True, "message": str(table.fits[0].status)}],
        "costs": [dataclasses.asdict(table.fits[0].cost)],
        "key": "20261123",  # of the fixture
        "ranking": json.loads(json.dumps(plain(table.ranking))),
        "notes": [],
        "asked": ["laplace", "flow"],
        "recommendation": table.recommendation,
    }
    assert dataclasses.replace(table, fits=(), certificates=()).statuses == ()


def test_a_comparison_of_failures_alone_is_a_table_without_rows(key):
    table = compare(TARGET, ["flow"], key=key)
    assert table.to_dataframe("bits").drop(columns="left out").isna().all(axis=None)
    assert table.recommendation == "Nothing could be fitted and checked: flow."
    assert "flow: left out" in str(table)
    assert "<table" in table._repr_html_()


def test_points_are_infinitely_far_and_particles_are_left_out(key):
    table = compare(TARGET, ["svgd", "map", "laplace"], key=key)
    frame = table.to_dataframe()
    assert list(frame.index) == ["laplace", "map", "svgd"]
    assert frame.loc["map", "KL(q||p) [nats]"] == np.inf
    assert frame.loc["map", "label"] == "exact"
    assert 0 < frame.loc["laplace", "KL(q||p) [nats]"] < 0.1
    assert "no density, so that KL(q||posterior) is infinite" in table.failures["svgd"]


@pytest.mark.landing
def test_threads_change_nothing(key):
    one, two = (compare(TARGET, ["laplace", "mean_field"], key=key, workers=n).to_dataframe() for n in (1, 2))
    columns = [name for name in one.columns if name != "seconds"]
    np.testing.assert_array_equal(one[columns].to_numpy(), two[columns].to_numpy())


def test_nothing_to_compare_is_refused(key):
    with pytest.raises(ValueError, match="methods is empty"):
        compare(TARGET, [], key=key)


def test_unknown_methods_are_refused_before_any_work(key):
    with pytest.raises(ValueError, match="Unknown method"):
        compare(TARGET, [Laplace(), "fool-rank"], key=jax.random.key(0))


def test_writing_is_atomic(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")  # cannot be encoded: the old file must stay
    assert path.read_text() == "old"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@dataclasses.dataclass(frozen=True)
class Breaks(Algorithm):
    """Ends in an error of this kind, like any fit."""

    error: type

    name = "breaks"

    def find(self, key, target, *, start, progress, counter):
        raise self.error("out of range")


@pytest.mark.parametrize("error", [OverflowError, ZeroDivisionError, np.linalg.LinAlgError, FitError, ModelError])
def test_numbers_out_of_their_range_end_one_fit_and_no_other(error, key):
    table = compare(TARGET, [Breaks(error), "laplace"], key=key)
    assert table.names == ("laplace",)
    assert "out of range" in table.failures["breaks"]
    assert all(isinstance(result, ViKLError) for result in Breaks(error).fit_many(key, [TARGET, TARGET]))


def test_two_failures_of_one_name_are_both_told(key):
    table = compare(TARGET, [Breaks(FitError), Breaks(ModelError)], key=key)
    assert list(table.failures) == ["breaks", "breaks (2)"]


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError])
def test_what_is_not_vi_kls_own_is_no_row(error, key):
    with pytest.raises(error, match="out of range"):
        compare(TARGET, [Breaks(error), "laplace"], key=key)
    with pytest.raises(error, match="out of range"):
        Breaks(error).fit_many(key, [TARGET])


# a normal posterior whose correlation independent normals cannot have: everything is known in closed form
CORRELATED = Target.from_log_density(lambda z: -0.5 * (z[0] ** 2 + z[1] ** 2 - 1.2 * z[0] * z[1]) / (1 - 0.36), 2)
LOST = -0.5 * np.log(1 - 0.36)  # the KL of the best independent normals


@pytest.mark.landing
def test_differences_are_known_and_ties_are_said(key):
    table = compare(CORRELATED, {"full": "full_rank", "same": "laplace", "independent": "mean_field"}, key=key)
    behind = table.ranking.gap_of("independent")
    assert behind.value == pytest.approx(LOST, abs=4 * behind.standard_error + 1e-3)
    assert set(table.ranking.tied) == {"full", "same"}
    assert table.to_dataframe().loc["independent", "behind [nats]"] == behind.value
    assert table.recommendation.startswith("Take same:")  # as near as the other, without a gradient
    assert "full cannot be told apart from it" in table.recommendation


def test_the_error_of_a_difference_is_the_spread_over_keys(key):
    fits = [vi_kl.fit(CORRELATED, name, key=0) for name in ("full_rank", "mean_field")]
    found = [rank(CORRELATED, fits, ["a", "b"], k).behind[1] for k in jax.random.split(key, 30)]
    spread = np.std([x.value for x in found], ddof=1)
    assert 0.7 < spread / np.mean([x.standard_error for x in found]) < 1.4  # sd of an sd of 30: an eighth


def test_a_fit_is_checked_and_not_fitted_again(key):
    fit = vi_kl.fit(CORRELATED, "mean_field", key=0)
    table = compare(CORRELATED, [fit, "full_rank"], key=key)
    assert table["mean_field"] is fit
    with pytest.raises(KeyError, match="no approximation 'flow': choose one of mean_field, full_rank"):
        table["flow"]
    with pytest.raises(ValueError, match="of another posterior"):
        compare(TARGET, [fit], key=key)


def test_none_near_enough_is_said_with_what_to_do_instead(key):
    narrow = Target.from_log_density(lambda z: -0.5 * (z**2).sum() * 400 + 399 * 0.5 * (z.sum() ** 2) / 2, 2)
    table = compare(narrow, ["mean_field"], key=key)
    assert table.recommendation.startswith("None is near enough")
    assert "vi_kl.sample(fit, key=key)" in table.recommendation


def test_what_is_not_begun_within_the_budget_is_left_out(key):
    table = compare(TARGET, ["laplace", "mean_field"], key=key, budget=1e-9)
    assert table.failures == dict.fromkeys(["laplace", "mean_field"], "not begun, because the budget was spent.")
    with pytest.raises(ValueError, match="budget must be a positive number of seconds"):
        compare(TARGET, ["laplace"], key=key, budget=0)


def test_a_reference_is_found_where_it_is_asked_for(key):
    alone = TARGET.with_reference(None)
    table = compare(alone, ["laplace"], key=key, reference="auto")
    assert table.certificates[0].source == "quadrature"
    with pytest.raises(ValueError, match='reference must be "auto"'):
        compare(alone, ["laplace"], key=key, reference="always")


@pytest.mark.landing
def test_a_page_is_one_file_with_the_recommendation(key, tmp_path):
    table = compare(TARGET, ["laplace", "mean_field"], key=key)
    page = table.to_html(tmp_path / "new" / "report.html").read_text()
    assert table.recommendation in html.unescape(page)
    assert page.count("<svg") >= 3
    assert not re.search(r"(src|href)=.https?:", page)
    with pytest.raises(OSError, match="report"):
        table.to_html(tmp_path / "new" / "report.html" / "inside.html")
