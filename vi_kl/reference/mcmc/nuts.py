"""NUTS over z, in chains that run side by side: NumPyro's sampler, with the target as an argument.

The program is compiled once for a target's structure and shape: new data of the same shape, other keys and another
number of draws reuse it. It runs in pieces, so that progress can be reported.

References: Hoffman & Gelman (2014), "The No-U-Turn sampler"; Betancourt (2016), "Identifying the optimal
integration time in Hamiltonian Monte Carlo", sections 2 to 4, for the multinomial version, which is NumPyro's.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.compilation import compiled
from vi_kl.core.precision import in_float64
from vi_kl.targets.target import Target, is_small, log_density

PIECE = 250  # steps per compiled call


@dataclasses.dataclass(frozen=True)
class NUTS:
    """A set of settings of the sampler.

    Attributes:
        num_chains: the number of chains, each from a starting point of its own.
        num_warmup: the number of discarded steps in which step size and mass matrix are adapted.
        num_draws: the number of draws kept of each chain.
        target_accept_prob: the target acceptance probability; a higher one means smaller steps and fewer divergences.
        max_tree_depth: the depth of a trajectory's tree: it has at most 2**max_tree_depth steps.
        largest_dense: the largest number of dimensions with a dense mass matrix.
    """

    num_chains: int = 4
    num_warmup: int = 1000
    num_draws: int = 2000
    target_accept_prob: float = 0.8
    max_tree_depth: int = 10
    largest_dense: int = 100

    def __post_init__(self):
        for name, least in (("num_chains", 2), ("num_warmup", 100), ("num_draws", 100), ("max_tree_depth", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
        if not 0 < self.target_accept_prob < 1:
            raise ValueError(f"target_accept_prob must lie between 0 and 1, got {self.target_accept_prob}.")


@dataclasses.dataclass(frozen=True)
class Run:
    """A record of a run of NUTS, warm-up excluded; all arrays but z are (chains, draws).

    Attributes:
        energy: the Hamiltonian at each draw.
        diverging: whether the trajectory that led to the draw diverged.
        num_steps: the number of gradients of that trajectory.
        z: the draws, of shape (chains, draws, dim).
        warm_up: the number of gradients of the warm-up, all chains together.
    """

    energy: np.ndarray
    diverging: np.ndarray
    num_steps: np.ndarray
    z: np.ndarray
    warm_up: int = 0

    @property
    def gradients(self) -> int:
        """The number of gradients of the draws, all chains together."""
        return int(self.num_steps.sum())


@with_one_blas_thread
@in_float64
def run_nuts(target: Target, config: NUTS, key, progress: Callable | None = None, starts: Any = None) -> Run:
    """Run chains from starting points that are far apart, uniform on (-2, 2) in every coordinate of z.

    Args:
        target: the posterior.
        config: the settings.
        key: a JAX random key.
        progress: a function that is called with the share done and a few words.
        starts: other starting points, (num_chains, dim).
    """
    start_key, key = jax.random.split(key)
    if starts is None:
        starts = jnp.stack([target.initial_position(k) for k in jax.random.split(start_key, config.num_chains)])
    kernel = Kernel(int(config.num_warmup), target.dim <= config.largest_dense, int(config.max_tree_depth))
    state = first_state(target, starts, jax.random.split(key, config.num_chains), config.target_accept_prob, kernel)
    total = config.num_warmup + config.num_draws
    pieces = []
    for done in range(0, total, PIECE):
        count = min(PIECE, total - done)
        state, records = run_piece(target, state, config.target_accept_prob, jnp.asarray(count), kernel)
        pieces.append([np.asarray(record)[:count] for record in records])
        if progress:
            words = "warming up" if done + count <= config.num_warmup else "sampling"
            progress((done + count) / total, f"NUTS {words}")
    energy, diverging, num_steps, z = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    kept = (x[config.num_warmup :] for x in (energy, diverging, num_steps, z))
    warm_up = int(num_steps[: config.num_warmup].sum())
    return Run(*(np.ascontiguousarray(np.swapaxes(x, 0, 1)) for x in kept), warm_up)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A set of the settings that are part of the code."""

    num_warmup: int
    dense: bool
    max_tree_depth: int

    def functions(self, target: Target, target_accept_prob):
        """Return NumPyro's (start a chain, take a step) for this target, which may be traced."""
        init, step = hmc(potential_fn=lambda z: -log_density(target, z), algo="NUTS")

        def start(z, key):
            return init(
                z,
                self.num_warmup,
                dense_mass=self.dense,
                target_accept_prob=target_accept_prob,
                max_tree_depth=self.max_tree_depth,
                rng_key=key,
            )

        return start, step


@compiled(static=("kernel",), unoptimized=True)
def first_state(target: Target, starts, keys, target_accept_prob, kernel: Kernel):
    start, _ = kernel.functions(target, target_accept_prob)
    return together(jax.vmap(start)(starts, keys), lambda x: x[0])


def together(state, change):
    """Apply `change` to what all chains have in common: their position in the warm-up.

    If these were batched like the rest, every step would run both branches of every condition on them, the
    factorisation of the mass matrix included.
    """
    adaptation = state.adapt_state._replace(window_idx=change(state.adapt_state.window_idx))
    return state._replace(i=change(state.i), trajectory_length=None, adapt_state=adaptation)


def few_numbers(target, state, target_accept_prob, count, kernel) -> bool:
    return is_small(target, 4)


@compiled(static=("kernel",), unoptimized=few_numbers)
def run_piece(target: Target, state, target_accept_prob, count, kernel: Kernel):
    """Advance every chain by `count` steps, PIECE at most; return the state, and the record by step and chain."""
    start, step = kernel.functions(target, target_accept_prob)
    # NumPyro's step function learns its settings from the start of a chain; the numbers are discarded
    jax.eval_shape(start, state.z[0], jax.random.key(0))
    axes = together(jax.tree.map(lambda x: 0, state), lambda x: None)
    advance = jax.vmap(lambda one: step(one, (), {}), in_axes=(axes,), out_axes=axes)

    def body(i, carry):
        state, records = carry
        state = advance(state)
        new = state.energy, state.diverging, state.num_steps, state.z
        return state, tuple(record.at[i].set(x) for record, x in zip(records, new, strict=True))

    empty = tuple(
        jnp.zeros((PIECE, *x.shape), x.dtype) for x in (state.energy, state.diverging, state.num_steps, state.z)
    )
    return jax.lax.fori_loop(0, count, body, (state, empty))
