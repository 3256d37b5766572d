"""NUTS that starts well: from given points, in coordinates in which the posterior is nearly standard normal.

It requires starting points in the posterior's bulk and coordinates, as an approximation of the posterior has them. All
chains share one step size, found by dual averaging of their mean acceptance, which takes few steps. Where the
coordinates turn out to be poor, the chains' own covariance mends them, in windows that double as in a cold run.

The program is compiled once for the structure of the coordinates, the target among them; another length of the
warm-up or of the chains reuses it.

Reference: Hoffman & Gelman (2014), "The No-U-Turn sampler", section 3.2, for dual averaging.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import dual_averaging

from vi_kl.core.annotations import AnyArray, Values
from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.compilation import compiled
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.pytrees import pytree
from vi_kl.core.scales import Diagonal, Triangular
from vi_kl.targets.target import Target, is_small, log_density

PIECE = 250  # steps per compiled call
SETTLING = 50  # steps of every chain in which the step size is adapted, and the start forgotten
WINDOWS = (100, 200, 400)  # further steps after each time that the coordinates are mended
LONG = 12.0  # gradients a step, in ten dimensions or fewer, above which coordinates are mended; a good one takes 3 to 7
WORTH = 10.0  # draws that the coordinates before are worth
LARGEST_DENSE = 100  # dimensions; with more, coordinates are mended one by one


class Chart(Protocol):
    """A map from coordinates u, in which the posterior is nearly standard normal, to z; a pytree."""

    def place(self, u: Float[AnyArray, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """Return z, and the log of |det dz/du|."""


@pytree
class Coordinates:
    """Coordinates v of a posterior: z is the chart's image of u = inner.loc + S v.

    Attributes:
        target: the posterior.
        chart: the map from u to z.
        inner: the normal that the posterior is taken for in u: the standard one, until the chains tell more.
    """

    target: Target
    chart: Any
    inner: Gaussian

    def place(self, v: Float[AnyArray, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """Return z, and the log of |det dz/dv|."""
        z, log_volume = self.chart.place(self.inner.unwhiten(v))
        return z, log_volume + self.inner.log_det

    def log_density(self, v: Float[AnyArray, " dim"]) -> Float[Array, ""]:
        """Return the unnormalised log density of v."""
        z, log_volume = self.place(v)
        return log_density(self.target, z) + log_volume


@pytree
class Whitened:
    """The chart in which a normal is standard.

    Attributes:
        normal: the normal.
    """

    normal: Gaussian

    def place(self, u: Float[AnyArray, " dim"]) -> tuple[Float[Array, " dim"], Values]:
        """Return z, and the log of |det dz/du|."""
        return self.normal.unwhiten(u), self.normal.log_det


class StepSize(NamedTuple):
    """A step size that all chains share, and the state of its adaptation."""

    value: Array
    averaging: tuple


class Records(NamedTuple):
    """What is kept of every step of every chain: arrays (steps, chains), of v and z (steps, chains, dim)."""

    energy: Any
    diverging: Any
    num_steps: Any
    v: Any
    z: Any
    log_p: Any


def functions(coordinates: Coordinates, max_tree_depth: int):
    """Return NumPyro's (start a chain, take a step) with the identity as its mass matrix and no adaptation."""
    init, step = hmc(potential_fn=lambda v: -coordinates.log_density(v), algo="NUTS")

    def start(v, key):
        return init(v, 0, inverse_mass_matrix=jnp.ones(v.shape), adapt_step_size=False, adapt_mass_matrix=False,
                    max_tree_depth=max_tree_depth, rng_key=key)  # fmt: skip

    return start, step


@compiled(static=("max_tree_depth",), unoptimized=True)
def first_state(coordinates: Coordinates, starts, keys, max_tree_depth: int):
    start, _ = functions(coordinates, max_tree_depth)
    state = jax.vmap(start)(starts, keys)
    return together(state, lambda x: x[0])


def together(state, change):
    """Apply `change` to the number of steps, which all chains have in common."""
    return state._replace(i=change(state.i), trajectory_length=None)


def few_numbers(coordinates, *rest) -> bool:
    return is_small(coordinates.target, 4)


@compiled(static=("max_tree_depth",), unoptimized=few_numbers)
def run_piece(coordinates: Coordinates, state, step_size: StepSize, target_accept_prob, adapting, count,
              max_tree_depth: int):  # fmt: skip
    """Advance every chain by `count` steps, PIECE at most; return the state, the step size and the Records."""
    start, step = functions(coordinates, max_tree_depth)
    # NumPyro's step function learns its settings from the start of a chain; the numbers are discarded
    jax.eval_shape(start, state.z[0], jax.random.key(0))
    axes = together(jax.tree.map(lambda x: 0, state), lambda x: None)
    advance = jax.vmap(lambda one: step(one, (), {}), in_axes=(axes,), out_axes=axes)
    update = dual_averaging()[1]

    def body(i, carry):
        state, step_size, records = carry
        steps = jnp.broadcast_to(step_size.value, state.adapt_state.step_size.shape)
        state = advance(state._replace(adapt_state=state.adapt_state._replace(step_size=steps)))
        averaging = update(target_accept_prob - state.accept_prob.mean(), step_size.averaging)
        adapted = StepSize(jnp.exp(averaging[0]), averaging)
        step_size = jax.tree.map(lambda new, old: jnp.where(adapting, new, old), adapted, step_size)
        z, log_volume = jax.vmap(coordinates.place)(state.z)
        log_p = -state.potential_energy - log_volume
        new = Records(state.energy, state.diverging, state.num_steps, state.z, z, log_p)
        return state, step_size, jax.tree.map(lambda kept, x: kept.at[i].set(x), records, new)

    one = (state.energy, state.diverging, state.num_steps, state.z, state.z, state.energy)
    empty = Records(*(jnp.zeros((PIECE, *x.shape), x.dtype) for x in one))
    return jax.lax.fori_loop(0, count, body, (state, step_size, empty))


class Chains:
    """Chains that go on from where they are, in coordinates that may be exchanged.

    Attributes:
        coordinates: the coordinates that they move in.
        gradients: the gradients so far.
    """

    def __init__(self, coordinates: Coordinates, starts, key, target_accept_prob: float, max_tree_depth: int = 10):
        self.target_accept_prob, self.max_tree_depth = target_accept_prob, max_tree_depth
        self.key, self.gradients = key, 0
        self.begin(coordinates, starts)
        self.forget_step_size(len(starts[0]) ** -0.25)

    def begin(self, coordinates: Coordinates, v) -> None:
        self.coordinates = coordinates
        self.key, key = jax.random.split(self.key)
        self.state = first_state(coordinates, jnp.asarray(v), jax.random.split(key, len(v)), self.max_tree_depth)
        self.gradients += len(v)

    def forget_step_size(self, guess) -> None:
        """Begin the adaptation of the step size again, around a guess."""
        guess = jnp.asarray(guess, float)
        averaging = tuple(map(jnp.asarray, dual_averaging()[0](jnp.log(guess))))
        self.step_size = StepSize(guess, averaging)

    def run(self, num_steps: int, *, adapting: bool, report: Callable | None = None) -> Records:
        """Advance by so many steps, and return what they were, chains first."""
        pieces = []
        for done in range(0, num_steps, PIECE):
            count = min(PIECE, num_steps - done)
            self.state, self.step_size, records = run_piece(
                self.coordinates, self.state, self.step_size, self.target_accept_prob, jnp.asarray(adapting),
                jnp.asarray(count), self.max_tree_depth,
            )  # fmt: skip
            pieces.append(chains_first(records, count))
            if report:
                report(count)
        found = joined(pieces)
        self.gradients += int(found.num_steps.sum())
        return found

    def settle_step_size(self) -> None:
        """Take the average of the adapted step sizes from now on."""
        self.step_size = self.step_size._replace(value=jnp.exp(self.step_size.averaging[1]))

    def move_to(self, inner: Gaussian) -> None:
        """Exchange the coordinates, and go on from the same places."""
        old = self.coordinates
        v = inner.whiten(old.inner.unwhiten(np.asarray(self.state.z)))
        self.begin(Coordinates(old.target, old.chart, inner), v)


def chains_first(records: Records, count: int) -> Records:
    """Return the first steps of a piece as NumPy's arrays (chains, steps)."""
    return jax.tree.map(lambda x: np.swapaxes(np.asarray(x)[:count], 0, 1), records)


def joined(pieces: list[Records]) -> Records:
    """Return one record of pieces that followed each other, chains first."""
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *pieces)


def standard(dim: int) -> Gaussian:
    """Return the standard normal, whose scale may later be any other of the same kind."""
    scale = Triangular(np.eye(dim)) if dim <= LARGEST_DENSE else Diagonal(np.ones(dim))
    return Gaussian(np.zeros(dim), scale)


def warm_up(chains: Chains, report: Callable | None = None) -> None:
    """Adapt the step size, and mend the coordinates if trajectories are long."""
    records = chains.run(SETTLING, adapting=True, report=report)
    for length in WINDOWS:
        if not is_long(records):
            break
        chains.move_to(mended(chains.coordinates.inner, records))
        chains.forget_step_size(chains.step_size.value)
        records = chains.run(length, adapting=True, report=report)
    chains.settle_step_size()


def is_long(records: Records) -> bool:
    """Return whether trajectories are several times as long as a standard normal of this dimension makes them."""
    dim = records.z.shape[-1]
    return bool(records.num_steps.mean() > LONG * max(1.0, dim / 10) ** 0.25)


def mended(inner: Gaussian, records: Records) -> Gaussian:
    """Return the normal with the chains' moments in u, its covariance shrunk towards what was taken for it before."""
    settled = records.v[:, records.v.shape[1] // 4 :]
    v = settled.reshape(-1, settled.shape[-1])
    share = len(v) / (len(v) + WORTH)
    if isinstance(inner.scale, Diagonal):
        return Gaussian(
            inner.unwhiten(v.mean(axis=0)), Diagonal(inner.scale.sds * np.sqrt(share * v.var(axis=0) + 1 - share))
        )
    covariance = share * np.atleast_2d(np.cov(v, rowvar=False)) + (1 - share) * np.eye(v.shape[1])
    return Gaussian(inner.unwhiten(v.mean(axis=0)), Triangular(inner.scale.tril @ tril_of_covariance(covariance)))
