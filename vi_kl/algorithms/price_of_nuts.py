"""The price of NUTS for a target: about how many gradients a run of it takes, from a few trajectories beside q.

A run of NUTS needs no approximation. So a fit that goes on for longer than a run would take has to say why. The price
is measured: leapfrog trajectories, in the units of a normal that stands in for the mass matrix, begin at draws of q.
They tell the step size at which eight in ten proposals are accepted, and after how many steps a trajectory turns back.
NUTS doubles its trajectories until they do. Its warm-up, which begins far away and with a wrong mass matrix, takes one
and a half times as much as sampling.

It is right within a factor of 1.5 where the warm-up finds its way easily. Predictors in units of their own make the
warm-up several times dearer, which this does not see.

References: Hoffman & Gelman (2014), "The No-U-Turn sampler"; Betancourt (2016), "Identifying the optimal integration
time in Hamiltonian Monte Carlo".
"""

from typing import NamedTuple

import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.core.gaussian import Gaussian
from vi_kl.targets.target import Target, value_and_grad_batch

CHAINS, WARMUP, DRAWS = 2, 1000, 1000
WARMUP_SURCHARGE = 1.5  # a step of the warm-up takes this many times the gradients of a later one
ACCEPTED = 0.88  # the share of proposals at which NUTS's adaptation ends if it aims at 0.8
TRAJECTORIES = 16
LONGEST = 31  # leapfrogs of a trajectory here; one that has not turned back by then counts as twice as long
FIRST = 1.3  # the first step size, in one dimension; it falls with the fourth root of the dimension
STEP_SIZES = 5  # the most step sizes that are tried
NEAR = 0.05  # the share of proposals is near enough to what is aimed at
LOWEST_PRICE = 5_000  # gradients of a run of NUTS with one a step: no target takes fewer


class Trial(NamedTuple):
    """What trajectories with one step size have shown.

    Attributes:
        step_size: the step size, in the units of the normal.
        accepted: the mean share of proposals along them that are accepted.
        leapfrogs: the mean number of gradients of a step of NUTS.
    """

    step_size: float
    accepted: float
    leapfrogs: float


def price_of_nuts(target: Target, normal: Gaussian, z: np.ndarray, generator, counter: CostCounter) -> int:
    """Return about how many gradients two chains of NUTS take, with 1,000 steps of warm-up and 1,000 draws each.

    Args:
        target: the posterior.
        normal: a normal that stands in for NUTS's mass matrix.
        z: draws of q, at which trajectories begin, (n, dim).
        generator: NumPy's random generator.
        counter: the counter of gradients.
    """
    begin = np.asarray(normal.whiten(z[:TRAJECTORIES]))
    momenta = generator.standard_normal(begin.shape)
    value, slope = value_and_slope(target, normal, begin, counter)
    known = np.isfinite(value)
    if not known.any():
        return steps_in_all(2 * LONGEST + 1)
    states, size = [x[known] for x in (begin, momenta, value, slope)], FIRST * target.dim**-0.25
    for _ in range(STEP_SIZES):
        trial = try_step_size(target, normal, states, size, counter)
        if abs(trial.accepted - ACCEPTED) < NEAR:
            break
        # the logarithm of the share grows with the square of the step size
        size *= float(np.clip((np.log(ACCEPTED) / np.log(np.clip(trial.accepted, 0.02, 0.99))) ** 0.5, 0.3, 1.5))
    return steps_in_all(trial.leapfrogs)


def steps_in_all(leapfrogs: float) -> int:
    """Return the gradients of a whole run, from those of one step after the warm-up."""
    return round(CHAINS * (WARMUP_SURCHARGE * WARMUP + DRAWS) * leapfrogs)


def value_and_slope(target: Target, normal: Gaussian, u: np.ndarray, counter: CostCounter):
    """Return the log density and its gradient in the normal's units."""
    value, slope = value_and_grad_batch(target, normal.unwhiten(u))
    counter.gradient_evaluations += len(u)
    with np.errstate(invalid="ignore"):
        slope = np.asarray(normal.scale.apply_transpose(slope))
    bad = ~(np.isfinite(value) & np.isfinite(slope).all(axis=1))
    return np.where(bad, -np.inf, value), np.where(bad[:, None], 0.0, slope)


def try_step_size(target: Target, normal: Gaussian, begin, size: float, counter: CostCounter) -> Trial:
    """Follow trajectories until they turn back."""
    u, momenta, value, slope = (np.array(x) for x in begin)
    first, energy = u.copy(), value - 0.5 * (momenta**2).sum(axis=1)
    going, steps = np.arange(len(u)), np.full(len(u), 2 * LONGEST + 1)
    accepted: list[np.ndarray] = []
    for step in range(1, LONGEST + 1):
        momenta[going] += 0.5 * size * slope[going]
        u[going] += size * momenta[going]
        value[going], slope[going] = value_and_slope(target, normal, u[going], counter)
        momenta[going] += 0.5 * size * slope[going]
        error = value[going] - 0.5 * (momenta[going] ** 2).sum(axis=1) - energy[going]
        accepted.append(np.exp(np.minimum(error, 0.0)))
        turned = ((u[going] - first[going]) * momenta[going]).sum(axis=1) < 0
        ended = turned | (error < -20.0)
        steps[going[ended]] = step
        going = going[~ended]
        if not len(going):
            break
    return Trial(size, float(np.concatenate(accepted).mean()), float(np.mean(2 ** np.ceil(np.log2(steps + 1)) - 1)))
