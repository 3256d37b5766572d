"""Flow: a normalising flow over z, bending a standard normal by inverse autoregressive networks.

Reference: Kingma et al. (2016), "Improving variational inference with inverse autoregressive flow".
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.distributions.transforms import LowerCholeskyAffine, PermuteTransform
from numpyro.nn.auto_reg_nn import AutoregressiveNN

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, full_rank_params, scale_tril


@dataclasses.dataclass(frozen=True)
class Flow(Family):
    """A flow q(z): a standard normal through `num_layers` autoregressive maps, then a location and a scale.

    The last location and matrix take the units of the posterior, so that the networks only learn its shape; their
    last layer starts near zero, so that the flow starts near a normal distribution.
    Draws and their log density are cheap; log q at any other z takes `dim` passes.
    """

    num_layers: int = 2
    hidden: int = 8

    name = "iaf"

    @property
    def has_log_prob(self) -> bool:
        return False

    def require(self, target):
        if target.dim < 2:
            raise UnsuitableError("An autoregressive flow needs at least 2 dimensions; use MeanField for one.")

    def standard(self, key, target):
        self.require(target)
        outer = full_rank_params(np.zeros(target.dim), np.eye(target.dim))
        return {"outer": outer, "networks": init_networks(self, target.dim, key)}

    def place(self, params, units):
        return {**params, "outer": FullRank().place(params["outer"], units)}

    def distribution(self, params, target):
        dim = target.dim
        transforms = []
        for i, network_params in enumerate(params["networks"]):
            if i:
                transforms.append(PermuteTransform(jnp.arange(dim)[::-1]))
            apply = network(dim, self.hidden)[1]
            transforms.append(InverseAutoregressiveTransform(functools.partial(apply, network_params)))
        outer = params["outer"]
        transforms.append(LowerCholeskyAffine(outer["loc"], scale_tril(outer)))
        base = dist.Normal(jnp.zeros(dim), jnp.ones(dim), validate_args=False).to_event(1)
        return dist.TransformedDistribution(base, transforms, validate_args=False)


def network(dim: int, hidden: int):
    """Return (init, apply) of the autoregressive network that gives each coordinate its shift and log scale."""
    return AutoregressiveNN(dim, [hidden * dim], permutation=np.arange(dim), nonlinearity=TANH)


TANH = (lambda key, shape: (shape, ()), lambda params, x, **kwargs: jnp.tanh(x))


def init_networks(family: Flow, dim: int, key):
    """Return small random weights in the networks' own shapes, filled in without compiling anything."""
    shapes = jax.eval_shape(lambda key: network(dim, family.hidden)[0](key, (dim,))[1], key)
    generator = numpy_generator(key)

    def fill(leaf):
        return jnp.asarray(0.01 * generator.normal(size=leaf.shape))

    return [jax.tree.map(fill, shapes) for _ in range(family.num_layers)]
