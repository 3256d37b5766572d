import numpy as np
import pytest

from vi_kl.demo.worms.data import TEETH, WORMS, observed


def test_a_thousand_worms_with_zero_to_ten_teeth():
    assert WORMS.sum() == 1000
    assert TEETH.tolist() == list(range(11))
    assert WORMS.shape == TEETH.shape


def test_observed_is_a_distribution_with_the_printed_mean():
    assert observed().sum() == pytest.approx(1.0, abs=1e-15)
    assert observed()[5] == 0.2
    # the article's binomial parameter is the mean number of teeth over ten, printed as 0.57
    assert round(float(observed() @ TEETH) / 10, 2) == 0.57


def test_the_counts_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        WORMS[0] = 1
    fresh = observed()
    fresh[0] = 0.5
    assert observed()[0] == np.float64(0.02)
