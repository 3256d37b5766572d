"""Labels name the symbols: pmfs that carry them are compared label by label, in every function that takes pmfs."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpyro.distributions import Poisson

from vi_kl import divergences as d

P = pd.Series([0.5, 0.25, 0.25], index=list("abc"))
OTHER = pd.Series([0.2, 0.3, 0.5], index=list("cab"))
FUNCTIONS = {
    "kl_divergence": d.kl_divergence,
    "cross_entropy": d.cross_entropy,
    "jensen_shannon": d.jensen_shannon,
    "total_variation": d.total_variation,
    "chi_squared": d.chi_squared,
    "renyi": lambda p, q: d.renyi(p, q, 2.0),
    "alpha_divergence": lambda p, q: d.alpha_divergence(p, q, 0.3),
    "estimate_kl": lambda p, q: d.estimate_kl(p, q).value,
    "estimate_f_divergence": lambda p, q: d.estimate_f_divergence(p, q, "hellinger").value,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_order_of_labels_does_not_matter(function):
    by_hand = function(P.to_numpy(), np.array([0.3, 0.5, 0.2]))
    assert function(P, OTHER) == by_hand
    assert function(P.astype("Float64"), OTHER.astype("category").astype(float)) == by_hand
    assert function(P[["c", "a", "b"]], OTHER) == pytest.approx(by_hand, rel=1e-14)


def test_a_symbol_that_is_not_listed_has_no_probability():
    p, q = pd.Series([0.5, 0.5], list("ab")), pd.Series([0.5, 0.5], list("bc"))
    assert d.kl_divergence(p, q) == np.inf
    assert d.jensen_shannon(p, q) == pytest.approx(np.log(2) / 2)
    assert d.kl_divergence(p, P) == pytest.approx(0.5 * np.log(2))
    assert d.kl_divergence(p, pd.Series([1.0], ["z"])) == np.inf


def test_counts_of_values_are_compared_by_value():
    """`value_counts` sorts by frequency."""
    p, q = pd.Series([1, 1, 2, 3]).value_counts(), pd.Series([3, 3, 3, 1, 1, 2]).value_counts()
    assert d.kl_divergence(p, q, normalize=True) == pytest.approx(
        d.kl_divergence([1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 6, 1 / 2])
    )


def test_rows_and_columns_of_frames():
    p = pd.DataFrame([[0.5, 0.5], [0.2, 0.8]], columns=["a", "b"])
    q = pd.DataFrame([[0.4, 0.6], [0.7, 0.3]], columns=["b", "a"])
    expected = d.kl_divergence(p.to_numpy(), q.to_numpy()[:, ::-1])
    np.testing.assert_array_equal(d.kl_divergence(p, q), expected)
    np.testing.assert_array_equal(d.kl_divergence(p.T, q.T, axis=0), expected)
    np.testing.assert_array_equal(d.kl_divergence(p, q.loc[0]), d.kl_divergence(p.to_numpy(), [0.6, 0.4]))
    with pytest.raises(ValueError, match="The batches of p are labelled 0, 1 and those of q 1, 0"):
        d.kl_divergence(p, q.loc[[1, 0]])


def test_coordinates_of_xarray():
    p = xr.DataArray([[0.2, 0.8]], dims=("draw", "s"), coords={"s": ["a", "b"]})
    q = xr.DataArray([[0.8, 0.2]], dims=("draw", "s"), coords={"s": ["b", "a"]})
    assert d.kl_divergence(p, q) == 0
    with pytest.raises(ValueError, match="transpose one"):
        d.kl_divergence(p, q.T)


def test_entries_that_are_only_numbered_are_compared_by_position():
    assert d.kl_divergence(pd.Series([0.5, 0.5]), pd.Series([0.5, 0.5])) == 0
    assert d.kl_divergence(P, [0.5, 0.25, 0.25]) == 0
    with pytest.raises(ValueError, match="p has 2 entries and q has 3"):
        d.kl_divergence(pd.Series([0.5, 0.5]), pd.Series([0.5, 0.25, 0.25]))
    with pytest.raises(ValueError, match=r"p is labelled 0, 1, 2 and q 'a', 'b', 'c', .*\.to_numpy\(\)"):
        d.kl_divergence(pd.Series([0.5, 0.25, 0.25]), P)
    with pytest.raises(ValueError, match="p has several entries with the label 'a'"):
        d.kl_divergence(pd.Series([0.5, 0.5], ["a", "a"]), P)


def test_what_is_masked_or_missing_is_no_zero():
    masked = np.ma.array([0.5, 0.25, 0.25], mask=[False, True, False])
    for call in (d.entropy, d.code_lengths, d.smooth, lambda p: d.kl_divergence(p, p), lambda p: d.hellinger([1], p)):
        with pytest.raises(ValueError, match="has 1 masked entries"):
            call(masked)
    with pytest.raises(ValueError, match="has 1 masked entries"):
        d.project(masked, Poisson)
    assert d.entropy(np.ma.array([0.5, 0.5])) == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match=r"p\[1\] is nan"):
        d.entropy(pd.Series([0.5, None, 0.5], dtype="Float64"))


def test_smoothing_keeps_the_labels():
    smoothed = d.smooth(P, support="abcd", epsilon=0.003)
    pd.testing.assert_series_equal(smoothed, pd.Series([0.499, 0.249, 0.249, 0.003], index=list("abcd")))


def test_a_projection_reads_counts_from_the_labels():
    counts = pd.Series([2, 2, 2, 0, 0, 1]).value_counts(normalize=True)
    assert d.project(counts, Poisson).params["rate"] == pytest.approx(7 / 6)
    with pytest.raises(ValueError, match="family over the counts"):
        d.project(P, Poisson)
    with pytest.raises(ValueError, match="sort_index"):
        d.project(counts, lambda rate: rate, init=1.0)
