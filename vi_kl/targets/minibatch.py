"""Minibatches: an unbiased estimate of the log density from some rows of the model's subsampling plates.

Requires a target whose source offers "minibatches", as a NumPyro model with plates that subsample does
(`numpyro.plate(name, N, subsample_size=B)`); `target.subsampled` tells. The target itself is the posterior given all
rows, and certificates are computed with it. Use the estimate where noise does no harm and rows are many: stochastic
optimisation.

    log p(z, data) ~ log p(global) + N / B * sum over B rows of log p(row, its latent variables | global)

z is that of the full target: the latent variables of all rows, of which those of the drawn rows are looked at. Or it is
that of the drawn rows alone (`own_rows`): then a step with a guide that runs on these rows costs nothing for the
others, however many there are.

Reference: Hoffman, Blei, Wang & Paisley (2013), Stochastic variational inference, section 2.3.
"""

import dataclasses

import jax
import jax.numpy as jnp

from vi_kl.targets.arguments import of_a_target
from vi_kl.targets.density import DerivedDensity, require_capability
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class Minibatch(DerivedDensity):
    """The estimate for drawn rows; data is (the full density's data, {plate: indices})."""

    def given(self, data):
        return data[0]

    def log_density(self, data, sites):
        return self.density.minibatch(data[0], sites, data[1])


@dataclasses.dataclass(frozen=True)
class OwnRows(DerivedDensity):
    """A density over the sites of the drawn rows alone, with the same value."""

    kept = frozenset({"numpyro_guides"})

    def given(self, data):
        return data[0]

    def rows_of(self, data):
        return data[1]

    def log_density(self, data, sites):
        return self.density.minibatch_of_own(data[0], sites, data[1])

    def constrain(self, data, sites):
        return self.density.constrain_own(data[0], sites, data[1])

    def unconstrain(self, data, sites):
        return self.density.unconstrain_own(data[0], sites, data[1])

    def explain(self, data, sites):
        return "The estimate from a minibatch is not finite there."


@of_a_target
def minibatch(target: Target, key) -> Target:
    """Return a target whose log density estimates, without bias, that of `target` from a minibatch of its rows.

    Args:
        target: a target with subsampling plates.
        key: the key with which the rows are drawn, without replacement, `subsample_size` of each plate; may be traced.

    Returns:
        A Target over the same z. Its cost is that of B rows, not N.

    Raises:
        ValueError: the target has no subsampling plates.
    """
    require_capability(target, "minibatches", "minibatch")
    return with_rows(target, drawn_rows(target, key))


def drawn_rows(target: Target, key) -> dict:
    """Return the rows of a minibatch, {plate: indices}."""
    plates = target.density.plates
    keys = jax.random.split(key, len(plates))
    return {p.name: draw_rows(k, p.size, p.batch) for p, k in zip(plates, keys, strict=True)}


def with_rows(target: Target, rows: dict) -> Target:
    """Return the estimate from these rows, {plate: indices}."""
    return Target(Minibatch(target.density), (target.data, rows), target.sites)


def own_rows(target: Target, rows: dict) -> Target:
    """Return the estimate from these rows, {plate: indices}, over their own latent variables and the global ones."""
    return Target(OwnRows(target.density), (target.data, rows), target.density.sites_of_rows(target.sites))


def draw_rows(key, size: int, batch: int):
    """Draw `batch` of `size` indices without replacement, every subset equally likely, at a cost of O(batch).

    Indices are drawn with replacement, and those that equal an earlier one are drawn again until none is left.
    The rule treats all indices alike, so all subsets are equally likely.
    """
    if 2 * batch > size:  # drawing again would take long, and O(size) is no more than O(batch)
        return jax.random.permutation(key, size)[:batch]

    def repeats(rows):
        order = jnp.argsort(rows, stable=True)
        again = jnp.concatenate([jnp.zeros(1, bool), jnp.diff(rows[order]) == 0])
        return jnp.zeros(batch, bool).at[order].set(again)

    def redraw(state):
        key, rows, again = state
        key, one = jax.random.split(key)
        rows = jnp.where(again, jax.random.randint(one, (batch,), 0, size), rows)
        return key, rows, repeats(rows)

    start = key, jnp.zeros(batch, int), jnp.ones(batch, bool)
    return jax.lax.while_loop(lambda state: state[2].any(), redraw, start)[1]
