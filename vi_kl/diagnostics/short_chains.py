"""Short chains: brief runs of Hamiltonian Monte Carlo that start at draws of q, and move towards the posterior.

A Markov kernel that leaves the posterior invariant moves every distribution towards it. So whatever has changed between
the draws of q and the ends of chains that began there was wrong in q (movement.py has the statistics). This needs no
importance weights, and so it works in many dimensions, where no weights are even.

The chains move in coordinates in which q is nearly standard normal. Pilot chains, whose ends do not count, choose the
step size by the acceptance; then they start in groups, several at one draw of q, and tell after how many moves the
chains of a group have nothing in common any longer. They go on for as many moves again, and so forth, until averages
move no more. Each chain of the main run makes twice as many moves as that took, and it is asked once more whether
averages move in the second half: starts may be forgotten before the posterior is reached.

Since none of these settings depends on the main run, and every chain draws its own step sizes, a chain of a right q is
reversible: its start and its end may change places.

References: Wang, Kasprzak & Huggins (2023), "A targeted accuracy diagnostic for variational approximations", for the
idea; Neal (2011), "MCMC using Hamiltonian dynamics"; Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari & Gelman
(2024), "Nested R-hat", for groups of chains that start at one point.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtri

from vi_kl.core.compilation import compiled
from vi_kl.core.evaluations import note_evaluations
from vi_kl.core.gaussian import Gaussian, gaussian_of_draws
from vi_kl.core.scales import Diagonal
from vi_kl.diagnostics.movement import has_moved
from vi_kl.families.approximation import Approximation, draw
from vi_kl.targets.target import Target, is_small, value_and_grad_rows

PIECE = 128  # chains that are advanced by one call, and the pilot chains
GROUP = 4  # pilot chains that start at one draw of q
TUNING = 10  # moves of the pilot chains in which the step size is adapted
ACCEPTANCE = 0.8
STEPS = 0.2, 1.2  # each chain draws the step of each move from this range, times the step size, so that no orbit closes
LENGTH = 2.4  # the length of a trajectory at the step size, in sds of q
MOST_LEAPFROGS = 32
MOVES = 8  # of all chains, before it is asked whether they have forgotten where they began
MOST_GRADIENTS = 256  # of each chain, all its moves together
FORGOTTEN = 0.3  # the share of a coordinate's variance between the groups, up to which their starts are forgotten
LARGEST_DENSE = 200  # dimensions; with more, coordinates of a q that is no normal are scaled one by one


class Phase(NamedTuple):
    """A place of every chain: whitened coordinates (n, dim), log p (n,) and its gradient in the coordinates (n, dim).

    The log density is never NaN: it is minus infinity instead, and its gradient zero.
    """

    u: Array
    log_p: Array
    gradient: Array


class Settings(NamedTuple):
    """The settings of all chains, which pilot chains choose.

    Attributes:
        step_size: the largest step but a fifth, in the whitened coordinates.
        num_leapfrogs: the steps of one move.
        num_moves: the moves of one chain.
        memory: the largest share of the variance of a coordinate, or of its distance from the middle, or of the log
            density, that the start of a chain still explains after half of these moves.
        gradients: the gradients that the pilot chains took.
    """

    step_size: float
    num_leapfrogs: int
    num_moves: int
    memory: float
    gradients: int


class Run(NamedTuple):
    """A record of what the chains went through.

    Attributes:
        starts, middles, ends: z at the beginning, after half of the moves and at the end, (n, dim) each.
        log_p: the log density at the three, (3, n).
        settings: the settings of the chains.
        acceptance: the mean acceptance.
        gradients: the gradients of the chains and of their pilots.
    """

    starts: Float[np.ndarray, "n dim"]
    middles: Float[np.ndarray, "n dim"]
    ends: Float[np.ndarray, "n dim"]
    log_p: Float[np.ndarray, "3 n"]
    settings: Settings
    acceptance: float
    gradients: int


# The kernel ------------------------------------------------------------------------------------------------------


def evaluate(target: Target, normal: Gaussian, u: Array) -> Phase:
    log_p, gradient = value_and_grad_rows(target, normal.unwhiten(u))
    log_p = jnp.where(jnp.isnan(log_p) | (log_p == jnp.inf), -jnp.inf, log_p)
    gradient = normal.scale.apply_transpose(jnp.where(jnp.isfinite(gradient), gradient, 0.0))
    return Phase(u, log_p, gradient)


def few_numbers(target: Target, *rest: Any) -> bool:
    return is_small(target, PIECE)


@compiled(unoptimized=few_numbers)
def begin(target: Target, normal: Gaussian, u: Array) -> Phase:
    return evaluate(target, normal, u)


@compiled(unoptimized=few_numbers)
def advance(
    target: Target, normal: Gaussian, phase: Phase, step_size: Array, num_leapfrogs: Array, num_moves: Array, key: Array
) -> tuple[Phase, Array]:
    """Make so many moves of every chain; return where they are, and the mean acceptance."""

    def one(i, carry):
        phase, total = carry
        phase, chance = move(target, normal, phase, step_size, num_leapfrogs, jax.random.fold_in(key, i))
        return phase, total + chance

    phase, total = jax.lax.fori_loop(0, num_moves, one, (phase, jnp.zeros(())))
    return phase, total / num_moves


def move(target: Target, normal: Gaussian, phase: Phase, step_size, num_leapfrogs, key) -> tuple[Phase, Array]:
    """Make one move of every chain, which leaves the target invariant and is reversible; return the acceptance too."""
    keys = jax.random.split(key, 3)
    momentum = jax.random.normal(keys[0], phase.u.shape, dtype=phase.u.dtype)
    step = step_size * jax.random.uniform(keys[1], (len(phase.u), 1), phase.u.dtype, *STEPS)

    def leapfrog(_, carry):
        phase, momentum = carry
        momentum = momentum + 0.5 * step * phase.gradient
        phase = evaluate(target, normal, phase.u + step * momentum)
        return phase, momentum + 0.5 * step * phase.gradient

    proposed, turned = jax.lax.fori_loop(0, num_leapfrogs, leapfrog, (phase, momentum))
    log_chance = proposed.log_p - phase.log_p - 0.5 * ((turned**2).sum(1) - (momentum**2).sum(1))
    chance = jnp.where(jnp.isnan(log_chance), 0.0, jnp.exp(jnp.minimum(log_chance, 0.0)))
    accepted = jax.random.uniform(keys[2], chance.shape, chance.dtype) < chance
    kept = jax.tree.map(lambda new, old: jnp.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old), proposed,
                        phase)  # fmt: skip
    return kept, chance.mean()


# Chains that start at draws of q -----------------------------------------------------------------------------------


class Chains:
    """PIECE chains that go on from where they are.

    Attributes:
        phase: their places now.
        acceptance: the mean acceptance of the last moves.
    """

    def __init__(self, target: Target, normal: Gaussian, z: np.ndarray, key: Array):
        self.target, self.normal, self.key = target, jax.tree.map(jnp.asarray, normal), key
        self.begin(z)

    def begin(self, z: np.ndarray) -> None:
        """Start again at z (PIECE, dim)."""
        self.phase = begin(self.target, self.normal, jnp.asarray(self.normal.whiten(jnp.asarray(z))))

    def run(self, step_size: float, num_leapfrogs: int, num_moves: int) -> None:
        """Advance by so many moves."""
        self.key, key = jax.random.split(self.key)
        numbers = jnp.asarray(step_size), jnp.asarray(num_leapfrogs), jnp.asarray(num_moves)
        self.phase, acceptance = advance(self.target, self.normal, self.phase, *numbers, key)
        self.acceptance = float(acceptance)

    @property
    def columns(self) -> np.ndarray:
        """The whitened coordinates of the chains, and the log density, (PIECE, dim + 1)."""
        return np.column_stack([self.phase.u, self.phase.log_p])

    @property
    def z(self) -> np.ndarray:
        """The places of the chains, (PIECE, dim)."""
        return np.asarray(self.normal.unwhiten(self.phase.u))


def run_short_chains(q: Approximation, normal: Gaussian, key: Array, num_chains: int, report: Callable) -> Run:
    """Run chains from draws of q, in coordinates in which a normal is standard.

    Args:
        q: the approximation.
        normal: the normal with q's mean and covariance, or nearly.
        key: a JAX random key.
        num_chains: the number of chains, a multiple of PIECE.
        report: a function that is called with the share of the work that is done.
    """
    keys = jax.random.split(key, 3)
    settings = choose_settings(q, normal, keys[0], report)
    starts, pieces = draw(q, keys[1], num_chains)[0], []
    half = settings.num_moves // 2
    for i, places in enumerate(starts.reshape(-1, PIECE, q.target.dim)):
        report(0.4 + 0.6 * i * PIECE / num_chains)
        chains = Chains(q.target, normal, places, jax.random.fold_in(keys[2], i))
        seen, accepted = [np.asarray(chains.phase.log_p)], []
        for _ in range(2):
            chains.run(settings.step_size, settings.num_leapfrogs, half)
            seen += [chains.z, np.asarray(chains.phase.log_p)]
            accepted.append(chains.acceptance)
        pieces.append((seen, np.mean(accepted)))
    first, middles, second, ends, third = (np.concatenate(x) for x in zip(*(seen for seen, _ in pieces), strict=True))
    gradients = num_chains * (1 + settings.num_moves * settings.num_leapfrogs) + settings.gradients
    note_evaluations(gradients=gradients)
    log_p = np.stack([first, second, third])
    return Run(starts, middles, ends, log_p, settings, float(np.mean([x for _, x in pieces])), gradients)


def choose_settings(q: Approximation, normal: Gaussian, key: Array, report: Callable) -> Settings:
    """Let pilot chains find the step size, and the number of moves after which their starts are forgotten."""
    keys = jax.random.split(key, 3)
    z = draw(q, keys[0], PIECE + PIECE // GROUP)[0]
    chains = Chains(q.target, normal, z[:PIECE], keys[1])
    report(0.0)
    step_size, gradients = tuned_step_size(chains)
    num_leapfrogs = leapfrogs_of(step_size)
    chains.begin(np.repeat(z[PIECE:], GROUP, axis=0))
    done, half, memory = 0, 0, 1.0
    most = MOST_GRADIENTS // (2 * num_leapfrogs)
    more = min(MOVES, most)
    while more:
        report(0.2 + 0.2 * done / (2 * most))
        before = chains.columns
        chains.run(step_size, num_leapfrogs, more)
        done += more
        if memory > FORGOTTEN:  # the starts have to be forgotten first
            half, memory = done, share_of_the_start(chains.columns)
            more = done if memory <= FORGOTTEN else min(MOVES, most - done)
        elif done <= most and has_moved(before, chains.columns):
            half = more = done
        else:
            more = 0
    gradients += PIECE * (2 + done * num_leapfrogs)
    return Settings(step_size, num_leapfrogs, 2 * half, memory, gradients)


def tuned_step_size(chains: Chains) -> tuple[float, int]:
    """Return a step size with the acceptance aimed at, and the gradients that it took."""
    log_step, tried, gradients = np.log(chains.normal.dim**-0.25), [], 0
    for i in range(TUNING):
        step_size = float(np.exp(log_step))
        chains.run(step_size, leapfrogs_of(step_size), 1)
        gradients += PIECE * leapfrogs_of(step_size)
        log_step += 2 * (chains.acceptance - ACCEPTANCE) / (1 + i / 4)
        tried.append(log_step)
    return float(np.exp(np.mean(tried[TUNING // 2 :]))), gradients


def leapfrogs_of(step_size: float) -> int:
    """Return the number of steps of one move."""
    return int(np.clip(np.ceil(LENGTH / step_size), 1, MOST_LEAPFROGS))


def share_of_the_start(values: np.ndarray) -> float:
    """Return the largest share of a column's variance that lies between groups of chains with one start.

    Of each column its ranks count, and those of the distance from its median, so that a chain that remembers the scale
    of its surroundings is found out as well. 0 if no column varies.

    Args:
        values: one row for each chain, GROUP of them in succession from each start.
    """
    spread = np.abs(values - np.median(values, axis=0))
    both = np.column_stack([values, spread])
    both = both[:, np.ptp(both, axis=0) > 0]
    if not both.shape[1]:
        return 0.0
    ranks = np.argsort(np.argsort(both, axis=0), axis=0)
    excess = nested_r_hat(ndtri((ranks + 0.5) / len(ranks)), GROUP) ** 2 - 1 - 1 / GROUP
    return float(max(0.0, (excess / (1 + excess)).max()))


def nested_r_hat(values: Float[np.ndarray, "n k"], group: int) -> Float[np.ndarray, " k"]:
    """Return nested R-hat of one draw for each chain, of which so many in succession share their start.

    It tends to sqrt(1 + 1 / group) as the start is forgotten. ArviZ's `rhat_nested` has no value for one draw a chain.

    Reference: Margossian et al. (2024), equations 6 to 8.
    """
    groups = values.reshape(-1, group, values.shape[1])
    return np.sqrt(1 + groups.mean(axis=1).var(axis=0, ddof=1) / groups.var(axis=1, ddof=1).mean(axis=0))


def normal_around(q: Approximation, z: Float[np.ndarray, "n dim"]) -> Gaussian | None:
    """Return the normal that q is, or one with the moments of its draws; None if these do not span the space.

    With very many dimensions it has the sds of the coordinates alone, since a covariance takes more draws.
    """
    normal = q.family.normal(q.params)
    if normal is not None or q.target.dim <= LARGEST_DENSE:
        return normal if normal is not None else gaussian_of_draws(z)
    sd = z.std(axis=0, ddof=1)
    return Gaussian(z.mean(axis=0), Diagonal(sd)) if np.isfinite(sd).all() and (sd > 0).all() else None
