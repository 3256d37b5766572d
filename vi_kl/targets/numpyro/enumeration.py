"""Discrete latent sites summed out by enumeration, and their posterior given z.

A model whose discrete latent sites have, together, a few thousand joint configurations at most is a target over its
continuous sites alone: the density of z is the sum over all configurations, each of them one run of the model with
the discrete sites filled in. Nothing needs marking in the model, and any dependence between the sites is allowed.

    target = Target.from_numpyro(model, y)            # z holds the continuous sites
    discrete_posterior(target, z)                     # probabilities of the discrete ones, given z

A site of n entries with K values each has K^n configurations, also where its entries are independent given z: there
`numpyro.distributions.MixtureSameFamily` sums each entry out by itself, at the cost of K n, and so does `eliminated`
with the extra `vi_kl[enum]`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from vi_kl.core.compilation import compiled
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.targets.numpyro.discrete_sites import by_site, configurations
from vi_kl.targets.numpyro.enumerated_model import BLOCK, EnumeratedModel
from vi_kl.targets.target import Target, in_chunks


@in_float64
def discrete_posterior(target: Target, z: Float[ArrayLike, "*n dim"]) -> Mapping[str, np.ndarray]:
    """Return the posterior probabilities of the discrete sites' values at given z.

    Args:
        target: a target that `Target.from_numpyro` made from a model with discrete latent sites.
        z: draws of an approximation or of the posterior, for example, (n, dim); or one z, (dim,).

    Returns:
        {site: (n, *shape of the site's entries, K)}: p(entry = its k-th value | z, data). Averaged over draws of
        the posterior of z they are the posterior probabilities. `discrete_support(target)` has the values.

    Raises:
        ValueError: the target has no discrete sites.
    """
    density = enumerated_density(target)
    z = np.asarray(target.checked(z))
    rows = z.reshape(-1, target.dim)
    one_hot = [
        (columns[:, :, None] == np.arange(site.num_values)).reshape(len(columns), -1).astype(float)
        for site, columns in by_site(density.discrete, configurations(density.discrete)).items()
    ]
    found = in_chunks(lambda piece: marginals_batch(target, piece, tuple(one_hot)), rows)
    return {
        site.name: x.reshape(*z.shape[:-1], *site.batch_shape, site.num_values)
        for site, x in zip(density.discrete, found, strict=True)
    }


def discrete_support(target: Target) -> dict[str, np.ndarray]:
    """Return the possible values of each discrete site, in the order of `discrete_posterior`'s last axis."""
    return {site.name: np.array(site.support) for site in enumerated_density(target).discrete}


def enumerated_density(target: Target) -> EnumeratedModel:
    if target.density.offers("configurations"):
        return target.density
    if target.density.discrete:
        raise UnsuitableError(
            f"The discrete sites of {target} have too many joint configurations to list them one by one."
        )
    raise UnsuitableError(f"{target} has no discrete latent sites.")


@compiled(unoptimized=True)
def marginals_batch(target: Target, z, one_hot):
    """Return, for each z and each site, the probabilities of its entries' values, flattened."""
    table = configurations(target.density.discrete)

    def one(z):
        sites = target.unravel(z)
        logs = jax.lax.map(lambda row: target.density.log_joint(target.data, sites, row), jnp.asarray(table))
        return tuple(jax.nn.softmax(logs) @ matrix for matrix in one_hot)

    return jax.lax.map(one, z, batch_size=BLOCK)
