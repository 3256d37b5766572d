"""SVI's compiled part: a chunk of gradient steps as one scan, for one fit or for many side by side."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vi_kl.compilation import compiled
from vi_kl.target.target import is_small

ADAM = optax.scale_by_adam(b2=0.99)
FIXED_DRAWS = 32  # the same noise in every chunk: what is looked at is how the draws move


class State(NamedTuple):
    """What one step hands to the next; `broken_at` is the first step whose gradient was not finite, or -1."""

    params: Any
    optimizer: Any
    step: jax.Array
    broken_at: jax.Array


class Chunk(NamedTuple):
    """What a chunk of steps gives: the key for the next, the state, the losses, and the iterates' mean.

    `draws`: where q at that mean sends fixed noise, (FIXED_DRAWS, dim).
    """

    key: Any
    state: State
    losses: Any
    mean: Any
    draws: Any


def few_numbers(key, state, target, units, step_size, family, objective, optimizer, num_steps) -> bool:
    return is_small(target, objective.density_evaluations)


@compiled(static=("family", "objective", "optimizer", "num_steps"), seldom=few_numbers)
def run_chunk(key, state: State, target, units, step_size, family, objective, optimizer, num_steps):
    """`num_steps` steps; returns the state, the losses, and the mean of the iterates."""

    def loss_in_frame(params, key):
        return objective(key, family.placed(params, units), family, target)

    def step(carry, key):
        state, mean = carry
        loss, gradient = jax.value_and_grad(loss_in_frame)(state.params, key)
        update, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: step_size * u, update))
        finite = jnp.isfinite(loss) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
        good = finite & (state.broken_at < 0)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)  # noqa: E731
        broken_at = jnp.where(good | (state.broken_at >= 0), state.broken_at, state.step)
        state = State(keep(params, state.params), keep(optimizer_state, state.optimizer), state.step + 1, broken_at)
        mean = jax.tree.map(lambda m, p: m + p / num_steps, mean, state.params)
        return (state, mean), loss

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (state, mean), losses = jax.lax.scan(step, (state, zeros), jax.random.split(key, num_steps))
    return state, losses, mean


@compiled(static=("family", "objective", "optimizer", "num_steps"), seldom=few_numbers)
def run_and_measure(key, state: State, target, units, step_size, family, objective, optimizer, num_steps) -> Chunk:
    """`run_chunk`, with the key for the chunk after and where q then sends fixed noise."""
    key, chunk_key = jax.random.split(key)
    state, losses, mean = run_chunk(chunk_key, state, target, units, step_size, family, objective, optimizer, num_steps)
    draws, _ = family.sample_and_log_prob(family.placed(mean, units), target, jax.random.key(0), FIXED_DRAWS)
    return Chunk(key, state, losses, mean, draws)


def few_fits(keys, *args) -> bool:
    """Whether there are so few that a slow program costs less than compiling a fast one."""
    return len(keys) < 16


@compiled(static=("impl", "layout", "family", "objective", "optimizer", "num_steps"), seldom=few_fits)
def run_chunks(keys, states: State, leaves, units, step_sizes, impl, layout, family, objective, optimizer, num_steps):
    """`run_and_measure` for each lane; keys are handed over as their data."""

    def one(key, state, leaves, units, step_size):
        key, target = jax.random.wrap_key_data(key, impl=impl), layout.tree(leaves)
        chunk = run_and_measure(key, state, target, units, step_size, family, objective, optimizer, num_steps)
        return chunk._replace(key=jax.random.key_data(chunk.key))

    return jax.vmap(one, in_axes=(0, 0, layout.axes, 0, 0))(keys, states, leaves, units, step_sizes)


@compiled(static=("optimizer",), seldom=True)
def first_state(params, optimizer) -> State:
    return State(params, optimizer.init(params), jnp.asarray(0), jnp.asarray(-1))


@compiled(static=("family",), seldom=True)
def placed(params, units, family):
    return family.placed(params, units)
