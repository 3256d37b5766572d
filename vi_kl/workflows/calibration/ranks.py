"""Compute where true parameters lie among the draws of each q: ranks, and the same spread evenly between 0 and 1."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.compilation import compiled
from vi_kl.families.approximation import Approximation
from vi_kl.targets.batching import Layout, have_one_structure
from vi_kl.targets.target import constrain, log_density, log_density_in_chunks, unconstrain

LANES = 50  # approximations drawn from at a time

JOINT = "log density"  # the name of the joint log density among the quantities that are ranked


class Counts(NamedTuple):
    """The counts from which the ranks of the true parameters among the draws of each q follow.

    Attributes:
        below: the number of draws below the truth, (fits, quantities).
        equal: the number of draws equal to it, (fits, quantities).
        finite: whether all draws and densities are finite, (fits,).
    """

    below: np.ndarray
    equal: np.ndarray
    finite: np.ndarray


def count(fits: Sequence[Fit], truths: Sequence[dict], key, num_draws: int) -> Counts:
    """Count how many of q's draws lie below the truth and how many are equal to it, for every scalar parameter.

    The last quantity is the joint log density of parameters and data, in z (Modrák et al. 2023). Unlike the parameters
    one by one, it shows a q whose dependence between them is wrong, or that ignores the data.
    """
    approximations = [fit.approximation for fit in fits]
    keys = jax.random.split(key, len(fits))
    if not have_one_structure(approximations):
        one_by_one = [count_one(*each, num_draws) for each in zip(approximations, truths, keys, strict=True)]
        return Counts(*map(np.stack, zip(*one_by_one, strict=True)))
    layout = Layout.of(approximations)
    raw_keys, impl = np.asarray(jax.random.key_data(keys)), jax.random.key_impl(keys)
    pieces = []
    for start in range(0, len(fits), LANES):
        # the last piece is filled up, so that one program serves all
        places = np.minimum(np.arange(start, start + min(LANES, len(fits))), len(fits) - 1)
        leaves = layout.stack([approximations[i] for i in places])
        sites = {name: np.stack([truths[i][name] for i in places]) for name in truths[0]}
        piece = count_many(raw_keys[places], leaves, sites, impl, layout, num_draws)
        pieces.append(jax.tree.map(np.asarray, piece))
    return Counts(*(np.concatenate(part)[: len(fits)] for part in zip(*pieces, strict=True)))


@compiled(static=("impl", "layout", "num_draws"), unoptimized=True)
def count_many(keys, leaves, truths, impl, layout, num_draws):
    def one(key, leaves, truth):
        q: Approximation = layout.tree(leaves)
        key = jax.random.wrap_key_data(key, impl=impl)
        z, _ = q.family.sample_and_log_prob(q.params, q.target, key, num_draws)
        sites = constrain(q.target, z)
        log_p = jax.vmap(log_density, in_axes=(None, 0))(q.target, z)
        return compare(sites, log_p, truth, log_density(q.target, unconstrain(q.target, truth)), jnp)

    return jax.vmap(one, in_axes=(0, layout.axes, 0))(keys, leaves, truths)


def count_one(q: Approximation, truth: dict, key, num_draws: int) -> Counts:
    """Compute the ranks for an approximation that is not like the others, through its own `sample`."""
    z = q.sample_and_log_prob(key, num_draws)[0]
    sites = jax.tree.map(np.asarray, q.target.constrain(z))
    log_p = log_density_in_chunks(q.target, z)
    return compare(sites, log_p, truth, q.target.log_density(q.target.unconstrain(truth)), np)


def compare(sites: dict, log_p, truth: dict, log_p_of_reference, array) -> Counts:
    """Draws, with a first axis, against one truth; scalar by scalar in the order of `quantity_names`."""
    draws = array.concatenate([sites[name].reshape(len(log_p), -1) for name in sorted(sites)] + [log_p[:, None]], 1)
    values = array.concatenate(
        [array.reshape(truth[name], -1) for name in sorted(sites)] + [array.reshape(log_p_of_reference, 1)]
    )
    # log densities may be -inf, outside the support
    finite = array.isfinite(draws[:, :-1]).all() & ~array.isnan(log_p).any() & ~array.isnan(values).any()
    return Counts((draws < values).sum(0), (draws == values).sum(0), finite)


def quantity_names(truths: dict) -> tuple[str, ...]:
    """Return `mu`, `theta[0]`, `theta[1]`, ..., and the joint log density; truths are {site: (num_data_sets, ...)}."""
    names = [
        name + ("[" + ",".join(map(str, index)) + "]" if index else "")
        for name in sorted(truths)
        for index in np.ndindex(*truths[name].shape[1:])
    ]
    return (*names, JOINT)


def spread_evenly(counts: Counts, uniform: np.ndarray, num_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ranks, and probability integral transforms, which are exactly uniform on (0, 1) if q is the posterior.

    A rank is a step of width 1 / (num_draws + 1); `uniform` places it within its step, and among equal draws.
    """
    shift = uniform * (counts.equal + 1)
    return counts.below + np.floor(shift).astype(int), (counts.below + shift) / (num_draws + 1)
