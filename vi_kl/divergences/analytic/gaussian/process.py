"""Closed forms for processes in time: GaussianRandomWalk and GaussianStateSpace; and ZeroSumNormal.

A divergence between Markov processes adds up over the steps: each contributes the expected divergence of the next
state given the present one.
"""

import math

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import lax

from vi_kl.divergences.analytic.gaussian.log_det import matrix_divergence, tril_of
from vi_kl.divergences.analytic.gaussian.triangular import diagonal, solve_lower, sum_of_squares
from vi_kl.divergences.bregman import itakura_saito
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.given_parameters import given_step_matrix
from vi_kl.divergences.registry import closed_form, closed_form_entropy, evaluate, evaluate_entropy


@closed_form(dist.GaussianRandomWalk, dist.GaussianRandomWalk)
def random_walk(p, q):
    """Return KL between random walks, that of their independent increments."""
    return normal_divergences(p.scale, q.scale, count=p.num_steps)


@closed_form_entropy(dist.GaussianRandomWalk)
def random_walk_entropy(p):
    return normal_entropies(p.scale, count=p.num_steps)


@closed_form(dist.ZeroSumNormal, dist.ZeroSumNormal)
def zero_sum_normal(p, q):
    """Return KL between the independent normals that an isometry maps onto the hyperplane of zero sums."""
    return evaluate(p.base_dist, q.base_dist)


@closed_form_entropy(dist.ZeroSumNormal)
def zero_sum_normal_entropy(p):
    """Return the entropy within the hyperplane, where the density is with respect to the hyperplane's volume."""
    return evaluate_entropy(p.base_dist)


@computed_in_float64(0, 0)
def normal_divergences(scale_p, scale_q, *, count):
    """Return KL between `count` independent centred normals each."""
    d = (scale_p - scale_q) / scale_q
    return count * (itakura_saito(scale_p, scale_q) + 0.5 * d * d)


@computed_in_float64(0)
def normal_entropies(scale, *, count):
    return count * (jnp.log(scale) + 0.5 * math.log(2 * math.pi * math.e))


@closed_form(dist.GaussianStateSpace, dist.GaussianStateSpace)
def state_space(p, q):
    given = {"given_p": given_step_matrix(p)[1], "given_q": given_step_matrix(q)[1]}
    return state_space_kl(*state_space_parameters(p), *state_space_parameters(q), num_steps=p.num_steps, **given)


@closed_form_entropy(dist.GaussianStateSpace)
def state_space_entropy(p):
    """Return the entropy of the innovations: adding the known part of each step changes no volume."""
    return innovation_entropy_of(*state_space_parameters(p), num_steps=p.num_steps, given=given_step_matrix(p)[1])


def state_space_parameters(p):
    return p.transition_matrix, p.initial_value, given_step_matrix(p)[0]


@computed_in_float64(2, 1, 2, 2, 1, 2)
def state_space_kl(
    transition_p, initial_p, matrix_p, transition_q, initial_q, matrix_q, *, num_steps, given_p, given_q
):
    """Return KL of the innovations plus half the expected squared difference of the predictions in units of q's.

    Let B = L_q^-1 (A_p - A_q). The state after t steps of p has mean A_p^t x_0 and covariance
    sum_{s<t} A_p^s L_p L_p^T A_p^s^T, so B's expected squares add up from B A_p^s [L_p, x_0]: all of them positive.
    """
    tril_p, tril_q = tril_of(matrix_p, given_p), tril_of(matrix_q, given_q)
    change = solve_lower(tril_q, transition_p - transition_q)
    first = change @ initial_p[..., None] + solve_lower(tril_q, transition_q @ (initial_p - initial_q)[..., None])

    def step(state, times):
        spread, mean = state
        squares = times * sum_of_squares(change @ spread) + sum_of_squares(change @ mean)
        return (transition_p @ spread, transition_p @ mean), squares

    start = tril_p, transition_p @ initial_p[..., None]
    remaining = jnp.arange(num_steps - 1, 0, -1, dtype=tril_p.dtype)
    _, squares = lax.scan(step, start, remaining)
    innovations = num_steps * matrix_divergence(matrix_p, matrix_q, given_p, given_q)
    return innovations + 0.5 * (sum_of_squares(first) + squares.sum(0))


@computed_in_float64(2, 1, 2)
def innovation_entropy_of(transition, initial, matrix, *, num_steps, given):
    tril = tril_of(matrix, given)
    return num_steps * (jnp.log(diagonal(tril)) + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
