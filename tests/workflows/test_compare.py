"""Comparing approximations: the table, failures that do not take the rest with them, threads that do not matter."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from programs import exponential_rate

from vi_kl.algorithms import Laplace
from vi_kl.algorithms.algorithm import Algorithm, FitError
from vi_kl.core.errors import ViKLError
from vi_kl.reference import reference_by_quadrature
from vi_kl.report.pages import write_atomically
from vi_kl.targets import Target
from vi_kl.targets.numpyro.inspection import ModelError
from vi_kl.workflows.compare import compare

TARGET = Target.from_numpyro(exponential_rate, np.array([0.4, 1.3, 0.9]), reference=reference_by_quadrature)


def test_table_and_failures(key):
    table = compare(TARGET, ["laplace", "flow", "mean_field"], key=key)
    frame = table.to_dataframe()
    assert list(frame.index) == ["mean_field", "laplace"]  # the best reverse KL first
    assert "at least 2 dimensions" in table.failures["flow"]
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
    }
    assert dataclasses.replace(table, fits=(), certificates=()).statuses == ()


def test_a_comparison_of_failures_alone_is_a_table_without_rows(key):
    table = compare(TARGET, ["flow"], key=key)
    assert table.to_dataframe("bits").empty
    assert "flow: left out" in str(table)
    assert "<table" in table._repr_html_()


def test_points_are_infinitely_far_and_particles_are_left_out(key):
    table = compare(TARGET, ["svgd", "map", "laplace"], key=key)
    frame = table.to_dataframe()
    assert list(frame.index) == ["laplace", "map"]
    assert frame.loc["map", "KL(q||p) [nats]"] == np.inf
    assert frame.loc["map", "label"] == "exact"
    assert 0 < frame.loc["laplace", "KL(q||p) [nats]"] < 0.1
    assert "no density, so that KL(q||posterior) is infinite" in table.failures["svgd"]


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
    assert list(table.to_dataframe().index) == ["laplace"]
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
