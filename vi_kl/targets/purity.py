"""Whether a function gives the same numbers at every call: what no density can do without.

JAX freezes at their first value what a function draws itself (NumPy's random numbers) or keeps (a counter). So it is
traced twice, with two random keys, and computed only where the two traces look different.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from vi_kl.core.compilation import compiler_options
from vi_kl.core.kept_programs import tracing
from vi_kl.core.programs.callbacks import has_callbacks
from vi_kl.core.programs.program import capture
from vi_kl.core.random_keys import split
from vi_kl.targets.captured import same


def scattered(shape: tuple) -> jax.Array:
    """Return numbers at which nothing is likely to vanish or cancel."""
    return jnp.asarray(0.3 + 0.5 * np.sin(1.0 + np.arange(np.prod(shape, dtype=int))).reshape(shape))


def what_differs(function: Callable, args: tuple) -> list[str]:
    """Return the names of `function(*args, key)`, {name: number}, whose value differs between two runs or two keys."""
    keys = split(jax.random.key(0))
    runs = [capture(function, *args, keys[0]) for _ in range(2)]
    (first, read), (second, read_again) = runs
    alike = first is second and all(map(same, read, read_again)) and not uses_last(first.operations)
    if alike and not has_callbacks(first.operations):  # of a function outside JAX it is seen only when it is run
        return []
    values = [evaluate(program, constants, *args, key) for (program, constants), key in zip(runs, keys, strict=True)]
    every = dict.fromkeys([*values[0], *values[1]])
    return [n for n in every if not np.array_equal(*(v.get(n, ()) for v in values), equal_nan=True)]


def evaluate(program, constants, *args):
    with tracing:
        return jax.jit(program.__call__, compiler_options=compiler_options(True))(constants, *args)


def uses_last(program) -> bool:
    """Return whether what a program returns depends on its last argument."""
    used = partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))[1]
    return used[-1]
