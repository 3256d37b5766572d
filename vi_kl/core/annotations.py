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

__all__ = ["AnyArray", "KeyLike", "Params", "PmfLike", "Progress", "ProgressLike", "Sites", "Values"]

AnyArray: TypeAlias = jax.Array | np.ndarray
"""An array: JAX's inside vi_kl and while the caller traces, NumPy's in what public functions hand back."""

Values: TypeAlias = AnyArray | np.floating
"""What a function of arrays gives: an array, or NumPy's number in the place of one without axes."""

PmfLike: TypeAlias = npt.ArrayLike
"""A pmf over the last axis, or counts to be normalised: an array, a list, a pandas Series."""

KeyLike: TypeAlias = jax.Array | np.ndarray | np.integer | int
"""A JAX random key, an old-style one, or an integer."""

Params: TypeAlias = PyTree
"""Parameters of a member of a family: a pytree of free real numbers."""

Sites: TypeAlias = dict[str, Any]
"""{site: array}, in the model's own space or unconstrained."""

Progress: TypeAlias = Callable[[float, str], object]
"""A function that is called with the share of the work that is done, and a sentence."""

ProgressLike: TypeAlias = Progress | bool | None
"""What is done with progress: a function that is called, True to show it, False to be silent; None shows it on a
terminal or in a notebook once two seconds have passed."""
