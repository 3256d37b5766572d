"""The teeth of 1,000 worms, counted on a far planet.

The article that tells this story prints its histogram only as a picture. The counts here are a reconstruction:
they reproduce every figure the article prints, at the precision it prints them (the entropy, the divergences
from the uniform and the binomial distribution in both directions, and the parameters that minimise the KL
divergence of the binomial and of the block model).

Source: Will Kurt, "Kullback-Leibler Divergence Explained", Count Bayesie (2017).
"""

import numpy as np

TEETH = np.arange(11)  # a worm has 0 to 10 teeth
WORMS = np.array([20, 17, 33, 63, 199, 200, 114, 82, 118, 109, 45])  # worms seen with that many
TEETH.flags.writeable = False
WORMS.flags.writeable = False


def observed() -> np.ndarray:
    """Return the observed distribution: the fraction of worms with 0, 1, ..., 10 teeth."""
    return WORMS / WORMS.sum()
