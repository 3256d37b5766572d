"""SVI's compiled part: a chunk of gradient steps as one scan, for one fit or for many side by side."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vi_kl.core.compilation import compiled
from vi_kl.objectives.elbo import ELBO
from vi_kl.targets.target import is_small

ADAM = optax.scale_by_adam(b2=0.99)
MOST_NOISE = 2**18  # numbers drawn ahead of the steps that use them; where a step takes more, it is no short one
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
    """`num_steps` steps, none after one that is not finite; returns the state, the losses, and the iterates' mean."""
    return scan_steps(key, state, target, units, step_size, family, objective, optimizer, num_steps, careful=True)


def scan_steps(key, state, target, units, step_size, family, objective, optimizer, num_steps, careful):
    """The scan; `careful` to look at every step whether it is finite, which costs as much as many a step."""

    def loss_in_frame(params, noise):
        return objective(noise, family.placed(params, units), family, target)

    def step(carry, noise):
        state, mean = carry
        loss, gradient = jax.value_and_grad(loss_in_frame)(state.params, noise)
        update, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: step_size * u, update))
        new = State(params, optimizer_state, state.step + 1, state.broken_at)
        if careful:
            new = good_state(new, state, loss, gradient)
        mean = jax.tree.map(lambda m, p: m + p / num_steps, mean, new.params)
        return (new, mean), loss

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    noise = noise_of_steps(key, family.placed(state.params, units), target, family, objective, num_steps)
    (state, mean), losses = jax.lax.scan(step, (state, zeros), noise)
    return state, losses, mean


def noise_of_steps(key, params, target, family, objective, num_steps):
    """What each step draws, made for all of them at once; or their keys, where that would take much memory."""
    keys = jax.random.split(key, num_steps)
    if not isinstance(objective, ELBO):
        return keys
    make = jax.vmap(lambda one: objective.randomness(one, params, family, target))
    made = jax.eval_shape(make, keys)
    return make(keys) if sum(leaf.size for leaf in jax.tree.leaves(made)) <= MOST_NOISE else keys


def good_state(new: State, old: State, loss, gradient) -> State:
    """`new`, or `old` where this step or one before was not finite."""
    finite = jnp.isfinite(loss) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
    good = finite & (old.broken_at < 0)
    params, optimizer = jax.tree.map(lambda a, b: jnp.where(good, a, b), new[:2], old[:2])
    return State(params, optimizer, new.step, jnp.where(good | (old.broken_at >= 0), old.broken_at, old.step))


@compiled(static=("family", "objective", "optimizer", "num_steps"), seldom=few_numbers)
def run_and_measure(key, state: State, target, units, step_size, family, objective, optimizer, num_steps) -> Chunk:
    """A chunk without looking at each step: what is not finite is seen at its end, and then looked into."""
    key, chunk_key = jax.random.split(key)
    state, losses, mean = scan_steps(
        chunk_key, state, target, units, step_size, family, objective, optimizer, num_steps, careful=False
    )
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
