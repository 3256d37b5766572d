"""The compiled part of SVI: a chunk of gradient steps as one scan, for one fit or for many side by side."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vi_kl.core.compilation import compiled
from vi_kl.objectives.elbo import ELBO
from vi_kl.targets.minibatch import drawn_rows
from vi_kl.targets.streamed_minibatch import given_drawn
from vi_kl.targets.target import is_small

MOST_NOISE = 2**18  # the most numbers that are drawn ahead; steps that need more take long anyway
FIXED_DRAWS = 32  # draws from the same noise in every chunk, so that their movement shows how q changes


class Optimizer(Protocol):
    """An optimiser of optax, which is imported only where one is used: that takes half a second.

    Attributes:
        init: the function from parameters to the optimiser's state.
        update: the function from gradients, state and parameters to updates and the next state.
    """

    @property
    def init(self) -> Callable: ...

    @property
    def update(self) -> Callable: ...


@functools.cache
def adam() -> Optimizer:
    """Return the optimiser that is used where the user gives none."""
    import optax

    return optax.scale_by_adam(b2=0.99)


class Params(NamedTuple):
    """All that a fit optimises; or the units of it.

    Attributes:
        q: the parameters of the member of the family, in the units of a frame; or these units, None for none.
        learned: the free numbers of the model's parameters that are to be learned, a pytree, () if there is none; or
            the matrix (k, k) whose columns are the units of their steps, () if these are taken as they are.
    """

    q: Any
    learned: Any = ()


class State(NamedTuple):
    """The state that one step passes to the next.

    Attributes:
        params: the parameters, `Params`.
        optimizer: the optimiser's state.
        step: the number of steps so far.
        broken_at: the first step whose loss or gradient was not finite, or -1.
    """

    params: Any
    optimizer: Any
    step: jax.Array
    broken_at: jax.Array


class Chunk(NamedTuple):
    """The result of a chunk of steps.

    Attributes:
        key: the key for the next chunk.
        state: the state after the last step.
        losses: the loss of each step, (num_steps,).
        mean: the mean of the iterates.
        draws: the draws of q at that mean, for fixed noise, (FIXED_DRAWS, dim).
    """

    key: Any
    state: State
    losses: Any
    mean: Any
    draws: Any


def few_numbers(key, state, target, units, step_size, family, objective, optimizer, num_steps, rows=()) -> bool:
    """Return whether the target is so small that a quickly compiled program is as good as an optimised one."""
    return is_small(target, objective.density_evaluations)


@compiled(static=("family", "objective", "optimizer", "num_steps"), unoptimized=few_numbers)
def run_chunk(key, state: State, target, units, step_size, family, objective, optimizer, num_steps, rows=()):
    """Do `num_steps` steps, but none after one that is not finite.

    Args:
        rows: the minibatch of each step, a `Drawn`, where rows are read from a source; else ().

    Returns:
        The state after the last step, the loss of each step, and the mean of the iterates.
    """
    return scan_steps(key, state, target, units, step_size, family, objective, optimizer, num_steps, True, rows)


def scan_steps(key, state, target, units, step_size, family, objective, optimizer, num_steps, careful, rows=()):
    """Scan over the steps; `careful` checks at each whether it is finite, which costs as much as many a step does."""
    import optax

    def loss_in_frame(params, noise, drawn):
        return loss_at(noise, params, units, given_drawn(target, drawn), family, objective)

    def step(carry, of_step):
        state, mean = carry
        loss, gradient = jax.value_and_grad(loss_in_frame)(state.params, *of_step)
        gradient = gradient._replace(learned=moved_by(jnp.transpose, gradient.learned, units.learned))
        update, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        update = update._replace(learned=moved_by(lambda matrix: matrix, update.learned, units.learned))
        params = optax.apply_updates(state.params, jax.tree.map(lambda u: step_size * u, update))
        new = State(params, optimizer_state, state.step + 1, state.broken_at)
        if careful:
            new = good_state(new, state, loss, gradient)
        mean = jax.tree.map(lambda m, p: m + p / num_steps, mean, new.params)
        return (new, mean), loss

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    noise = noise_of_steps(key, family.placed(state.params.q, units.q), target, family, objective, num_steps)
    (state, mean), losses = jax.lax.scan(step, (state, zeros), (noise, rows))
    return state, losses, mean


def noise_of_steps(key, params, target, family, objective, num_steps):
    """Draw the noise of all steps at once; or return their keys, if the noise would take much memory."""
    keys = jax.random.split(key, num_steps)
    if not isinstance(objective, ELBO):
        return keys
    make = jax.vmap(lambda one: objective.randomness(one, params, family, target))
    made = jax.eval_shape(make, keys)
    return make(keys) if sum(leaf.size for leaf in jax.tree.leaves(made)) <= MOST_NOISE else keys


def good_state(new: State, old: State, loss, gradient) -> State:
    """Return `new`, or `old` if this step or one before was not finite."""
    finite = jnp.isfinite(loss) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
    good = finite & (old.broken_at < 0)
    params, optimizer = jax.tree.map(lambda a, b: jnp.where(good, a, b), new[:2], old[:2])
    return State(params, optimizer, new.step, jnp.where(good | (old.broken_at >= 0), old.broken_at, old.step))


@compiled(static=("family", "objective", "optimizer", "num_steps"), unoptimized=few_numbers)
def run_and_measure(
    key, state: State, target, units, step_size, family, objective, optimizer, num_steps, rows=()
) -> Chunk:
    """Do a chunk of steps without checking each: values that are not finite show at its end."""
    key, chunk_key = jax.random.split(key)
    state, losses, mean = scan_steps(
        chunk_key, state, target, units, step_size, family, objective, optimizer, num_steps, False, rows
    )
    seen = looked_at(target.with_free_parameters(mean.learned), family)
    draws = family.smooth_draws(family.placed(mean.q, units.q), seen, jax.random.key(0), FIXED_DRAWS)
    return Chunk(key, state, losses, mean, draws)


def looked_at(target, family):
    """Return what fixed draws are taken of: one minibatch, always the same, where q is run with minibatches' rows."""
    if not target.subsampled:
        return target
    rows = family.for_minibatch(target)(target, drawn_rows(target, jax.random.key(1)))
    return rows if rows.dim < target.dim else target


def few_fits(keys, *args) -> bool:
    """Return whether the fits are so few that a slow program costs less than compiling a fast one."""
    return len(keys) < 16


@compiled(static=("impl", "layout", "family", "objective", "optimizer", "num_steps"), unoptimized=few_fits)
def run_chunks(keys, states: State, leaves, units, step_sizes, impl, layout, family, objective, optimizer, num_steps):
    """Do `run_and_measure` for each lane; keys are passed as their data."""

    def one(key, state, leaves, units, step_size):
        key, target = jax.random.wrap_key_data(key, impl=impl), layout.tree(leaves)
        chunk = run_and_measure(key, state, target, units, step_size, family, objective, optimizer, num_steps)
        return chunk._replace(key=jax.random.key_data(chunk.key))

    return jax.vmap(one, in_axes=(0, 0, layout.axes, 0, 0))(keys, states, leaves, units, step_sizes)


@compiled(static=("optimizer",), unoptimized=True)
def first_state(params, optimizer) -> State:
    """Return the state before the first step."""
    return State(params, optimizer.init(params), jnp.asarray(0), jnp.asarray(-1))


@compiled(static=("family",), unoptimized=True)
def placed(params: Params, units: Params, family):
    """Return q's parameters in z, given those in the frame's units."""
    return family.placed(params.q, units.q)


def moved_by(form, learned, units):
    """Return a pytree times a form of the matrix of its units; as it is if there is none."""
    if not jax.tree.leaves(units):
        return learned
    flat, unravel = ravel_pytree(learned)
    return unravel(form(units) @ flat)


def loss_at(noise, params: Params, units: Params, target, family, objective):
    """Return the loss for given noise, of the posterior at the parameters that are learned."""
    return objective(noise, family.placed(params.q, units.q), family, target.with_free_parameters(params.learned))
