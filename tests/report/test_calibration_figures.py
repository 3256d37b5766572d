"""The figure: the ranks and the ECDF that it draws are those of the calibration, and faults stand out."""

import jax
import numpy as np
import pytest
from procedures import Normal, normal_mean

import vi_kl
from vi_kl.report.calibration import INSIDE, OUTSIDE, plot_calibration, plot_ecdf_difference, plot_ranks
from vi_kl.report.figures import subplots


@pytest.fixture(scope="module", params=[1.0, 0.5], ids=["right", "too narrow"])
def calibration(request):
    method = Normal(scale=request.param)
    return request.param, vi_kl.calibrate(normal_mean, 4, observed="y", method=method, key=jax.random.key(4))


def test_a_row_for_each_parameter_the_worst_first(calibration):
    _, found = calibration
    figure = plot_calibration(found)
    assert len(figure.axes) == 4
    assert [ax.get_title(loc="left") for ax in figure.axes[::2]] == list(found.worst_first)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["", "", "rank of the truth among q's draws", "share of q's draws below the truth"]
    assert len(plot_calibration(found, ["mu"]).axes) == 2
    with pytest.raises(ValueError, match="No parameter 'tau': choose from mu, log density"):
        plot_calibration(found, ["tau"])
    with pytest.raises(ValueError, match="parameters is empty"):
        plot_calibration(found, [])


def test_the_histogram_counts_every_data_set_at_its_rank(calibration):
    scale, found = calibration
    ax = plot_ranks(subplots(figsize=(4, 3))[1], found, "mu")
    values, edges = ax.patches[-1].get_data()[:2]
    assert values.sum() == 200
    assert (edges[0], edges[-1]) == (0, 1000)
    np.testing.assert_array_equal(values[0], (found.pits[:, 0] < 0.05).sum())
    ends = values[[0, -1]].sum()
    assert ends > 60 if scale == 0.5 else ends < 40  # of 20 expected where q is right


def test_the_ecdf_leaves_the_band_where_q_is_too_narrow(calibration):
    scale, found = calibration
    ax = plot_ecdf_difference(subplots(figsize=(4, 3))[1], found, "mu")
    curve = ax.lines[-1]
    x, y = curve.get_data()
    assert y[0] == y[-1] == 0
    middle = int(np.argmin(np.abs(x - 0.3)))
    assert y[middle] == pytest.approx((found.pits[:, 0] <= x[middle]).mean() - x[middle])
    assert curve.get_color() == (OUTSIDE if scale == 0.5 else INSIDE)
    assert ax.get_title() == ("leaves the 95% band" if scale == 0.5 else "within the 95% band")
