"""A case: a pair of distributions with exactly represented parameters, and their divergence in 60 digits.

Each registered pair of classes needs at least one. To add one, decorate a function of a `Draws`:

    @case(dist.Normal, dist.Normal)
    def normals(draw):
        ...
        return p, q, truth
"""

import mpmath
import numpy as np
from mpmath import mpf

mpmath.mp.dps = 60

CASES = {}  # (p class, q class, name) -> function of a Draws


def case(p_class, q_class):
    """Register a function from a `Draws` to (p, q, KL(p||q) as an mpmath number) for these two classes."""

    def register(make):
        name = p_class, q_class, make.__name__
        assert name not in CASES, f"two cases of one name: {name}"
        CASES[name] = make
        return make

    return register


def exact(array):
    """A floating array as nested lists of mpmath numbers."""
    return [exact(row) for row in array] if np.ndim(array) else mpf(float(array))
