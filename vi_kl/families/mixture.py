"""Mixture: several normal distributions with weights, for posteriors with several modes or a bent one.

Requires nothing of the target. Like every q fitted by reverse KL it finds only what its components reach: start it
from a frame that covers the modes (`start=Frame.of(...)`, or a wide fit), since in a frame at one mode the others are
not seen.

Weights move no draw, so its plain draws are not differentiable in them; `weighted_draws` gives every component its
own draws, weighted by its share, and is.

Reference: Roeder, Wu & Duvenaud (2017), section 4, and Morningstar et al. (2021), "Automatic differentiation
variational inference with mixtures", for drawing from each component.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, MeanField, full_rank_params, scale_tril

SPREAD = 0.5  # mean squared distance of the components' centres from the origin, in units of the frame
HALVINGS = 50  # of the interval that holds a quantile


@dataclasses.dataclass(frozen=True)
class Mixture(Family):
    """A mixture of normals, q(z) = sum of w_k Normal(loc_k, covariance_k).

    Attributes:
        num_components: the number of components, K.
        covariance: "full", or "diagonal" for components without correlation.
    """

    num_components: int = 3
    covariance: Literal["full", "diagonal"] = "full"

    name = "mixture"

    def __post_init__(self):
        if self.num_components < 1:
            raise ValueError(f"num_components must be at least 1, got {self.num_components}.")
        if self.covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance must be 'full' or 'diagonal', not {self.covariance!r}.")

    @property
    def component(self) -> Family:
        """The family of each component."""
        return FullRank() if self.covariance == "full" else MeanField()

    def standard(self, key, target):
        """Return equal weights and centres in random directions about the origin.

        The mixture has the standard normal's total width.
        """
        dim, num = target.dim, self.num_components
        centres = numpy_generator(key).normal(size=(num, dim))
        centres -= centres.mean(axis=0)
        size = np.mean(np.sum(centres**2, axis=1))
        spread = SPREAD if num > 1 else 0.0
        centres *= np.sqrt(spread / size) if num > 1 else 0.0
        shape = full_rank_params(np.zeros(dim), np.sqrt(1 - spread / dim) * np.eye(dim))
        if self.covariance == "diagonal":
            del shape["below"]
        components = {name: jnp.tile(leaf, (num, 1)) for name, leaf in shape.items()}
        return {"logits": jnp.zeros(num), "components": {**components, "loc": jnp.asarray(centres)}}

    def place(self, params, units):
        """Return the parameters in z: each component is placed as the component's family would place it."""
        placed = jax.vmap(lambda one: self.component.place(one, units))(params["components"])
        return {**params, "components": placed}

    def trils(self, params):
        """Return the Cholesky factor of each component's covariance, of shape (K, dim, dim)."""
        if self.covariance == "full":
            return jax.vmap(scale_tril)(params["components"])
        return jax.vmap(jnp.diag)(jnp.exp(params["components"]["log_scale"]))

    def distribution(self, params, target):
        locs = params["components"]["loc"]
        if self.covariance == "full":
            components = dist.MultivariateNormal(locs, scale_tril=self.trils(params), validate_args=False)
        else:
            scales = jnp.exp(params["components"]["log_scale"])
            components = dist.Normal(locs, scales, validate_args=False).to_event(1)
        weights = dist.Categorical(logits=params["logits"], validate_args=False)
        return dist.MixtureSameFamily(weights, components, validate_args=False)

    def weighted_draws(self, params, target, key, n):
        """Return n draws, shared out evenly among the components, with their weights.

        Raises:
            ValueError: there are fewer draws than components.
        """
        num = self.num_components
        if n < num:
            raise ValueError(f"A mixture of {num} components needs at least {num} draws, got num_draws={n}.")
        which = np.arange(n) % num
        u = jax.random.normal(key, (n, target.dim), dtype=float)
        z = params["components"]["loc"][which] + jnp.einsum("nij,nj->ni", self.trils(params)[which], u)
        weights = jax.nn.softmax(params["logits"])[which] / np.bincount(which)[which]
        return z, jax.vmap(self.distribution(params, target).log_prob)(z), weights

    def smooth_draws(self, params, target, key, n):
        """Return n draws by the Rosenblatt transform, each coordinate the quantile of its noise given those before it.

        Plain draws leap from component to component as a weight passes their uniform number, even between components
        that are alike.
        """
        noise = jax.random.normal(key, (n, target.dim), dtype=float)
        locs, trils = params["components"]["loc"], self.trils(params)

        def coordinate(carry, d):
            log_weights, errors = carry  # of each component given the coordinates so far; zero for those to come
            means = locs[:, d] + jnp.einsum("nkd,kd->nk", errors, trils[:, d])
            scales = trils[:, d, d]
            z = mixture_quantile(noise[:, d], log_weights, means, scales)
            error = (z[:, None] - means) / scales
            log_weights = jax.nn.log_softmax(log_weights - error**2 / 2 - jnp.log(scales))
            return (log_weights, errors.at[:, :, d].set(error)), z

        log_weights = jnp.tile(jax.nn.log_softmax(params["logits"]), (n, 1))
        start = log_weights, jnp.zeros((n, *locs.shape))
        return jax.lax.scan(coordinate, start, jnp.arange(target.dim))[1].T


def mixture_quantile(u, log_weights, means, scales):
    """Return, for standard normal u, the quantile of a mixture of normals at the probability Phi(u), by bisection.

    Args:
        u: the normal noise, (n,).
        log_weights: the logs of the components' weights, (n, K).
        means: the components' means, (n, K).
        scales: their standard deviations, (K,).
    """
    ends = means + scales * u[:, None]  # the components' own quantiles, between which the mixture's lies

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        below = jax.scipy.special.ndtr((middle[:, None] - means) / scales)
        is_below = jnp.sum(jnp.exp(log_weights) * below, axis=1) < jax.scipy.special.ndtr(u)
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    return sum(jax.lax.fori_loop(0, HALVINGS, halve, (ends.min(axis=1), ends.max(axis=1)))) / 2


def mixture_params(weights: np.ndarray, components: Sequence[dict]) -> dict:
    """Return the parameters of `Mixture` for weights that add up to one and the parameters of each component."""
    return {
        "logits": jnp.log(jnp.asarray(weights)),
        "components": jax.tree.map(lambda *leaves: jnp.stack(leaves), *components),
    }
