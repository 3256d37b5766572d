"""Approximation: one fitted q, in one interface whatever made it."""

from typing import Any

import jax

from vi_kl.compilation import compiled
from vi_kl.families.family import Family
from vi_kl.precision import in_float64
from vi_kl.target.target import Target, constrain


@jax.tree_util.register_pytree_node_class
class Approximation:
    """One member of a family, fitted to a target.

    Attributes:
        family: the set it was chosen from.
        params: its place in that set, a pytree of arrays.
        target: what it approximates.
    """

    def __init__(self, family: Family, params: Any, target: Target):
        self.family = family
        self.params = params
        self.target = target

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def distribution(self):
        """The NumPyro distribution over z."""
        return self.family.distribution(self.params, self.target)

    @in_float64
    def sample(self, key, n: int) -> dict:
        """n draws of every site, {site: (n, ...)}, in the space in which the model sees them."""
        z, _ = draw(self, key, n)
        return constrain(self.target, z)

    @in_float64
    def sample_and_log_prob(self, key, n: int):
        """n draws of z, shape (n, dim), and log q(z), shape (n,)."""
        return draw(self, key, n)

    @in_float64
    def log_prob(self, z):
        """log q(z) for z of shape (dim,) or (n, dim)."""
        z = self.target.checked(z)
        flat = log_prob_batch(self, z.reshape(-1, self.target.dim))
        return flat.reshape(z.shape[:-1])

    def __repr__(self):
        return f"Approximation({self.name} of {self.target.density})"

    def tree_flatten(self):
        return (self.params, self.target), (self.family,)

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(static[0], *children)


@compiled(static=("n",))
def draw(q: Approximation, key, n: int):
    keys = jax.random.split(key, n)
    return jax.vmap(lambda k: q.family.sample_and_log_prob(q.params, q.target, k))(keys)


@compiled
def log_prob_batch(q: Approximation, z):
    return jax.vmap(lambda one: q.family.log_prob(q.params, q.target, one))(z)
