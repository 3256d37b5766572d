"""The types that stand in the signatures of vi_kl's interfaces.

Shapes are written as jaxtyping has them: `Float[AnyArray, "*batch dim"]` is an array of floats whose last axis has
length dim, after any number of others. They are for readers, editors and type checkers; nothing checks them when
code runs.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
import numpy.typing as npt
from jaxtyping import PyTree

# JAX's inside vi_kl and while the caller traces; NumPy's in what public functions hand back (see precision.py).
AnyArray: TypeAlias = jax.Array | np.ndarray

# What a function of pmf arrays gives: an array, or NumPy's number in the place of one without axes.
Values: TypeAlias = AnyArray | np.floating

# A pmf over the last axis, or counts to be normalised: an array, a list, a pandas Series.
PmfLike: TypeAlias = npt.ArrayLike

# A JAX random key, an old-style one, or an integer.
KeyLike: TypeAlias = jax.Array | np.ndarray | np.integer | int

# Parameters of a member of a family: a pytree of free real numbers.
Params: TypeAlias = PyTree

# {site: array}, in the model's own space or unconstrained.
Sites: TypeAlias = dict[str, Any]

# Called with the share of the work that is done, and a sentence.
Progress: TypeAlias = Callable[[float, str], object]
