"""Coupling flows: in turns, one half of the coordinates is transformed by maps that a network makes from the other.

Requires at least two dimensions. Draws and log densities are equally cheap, in both directions, unlike those of
autoregressive flows.

References: Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP"; Jones & Pewsey (2009),
"Sinh-arcsinh distributions", for the maps that bend.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.transforms import LowerCholeskyAffine, Transform

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.random_keys import numpy_generator
from vi_kl.families.coupling_in_numpy import LARGEST, CouplingInNumpy, halves
from vi_kl.families.family import Family
from vi_kl.families.gaussian import FullRank, full_rank_params, scale_tril
from vi_kl.families.sinh_arcsinh import sinh_arcsinh, sinh_arcsinh_inverse


@dataclasses.dataclass(frozen=True)
class Coupling(Family):
    """A flow q(z): a standard normal through `num_layers` coupling layers, then a location and a matrix.

    Attributes:
        bend: the map that a network chooses for each coordinate: "affine" is a shift and a scale, "sinh_arcsinh"
            adds skewness and tails.
        num_layers: the number of layers; each transforms about half of the coordinates.
        hidden: the number of units of each network's hidden layer.
    """

    bend: Literal["affine", "sinh_arcsinh"] = "sinh_arcsinh"
    num_layers: int = 4
    hidden: int = 16

    name = "flow"

    def __post_init__(self):
        if self.bend not in BENDS:
            raise ValueError(f"bend must be one of {', '.join(BENDS)}, not {self.bend!r}.")

    def require(self, target):
        if target.dim < 2:
            raise UnsuitableError("A coupling flow needs at least 2 dimensions; use Skewed for one.")

    def standard(self, key, target):
        self.require(target)
        generator = numpy_generator(key)
        outer = full_rank_params(np.zeros(target.dim), np.eye(target.dim))
        networks = [
            init_network(generator, target.dim, self.hidden, (~bent).sum(), bent.sum() * self.num_bend_params)
            for bent in halves(target.dim, self.num_layers)
        ]
        return {"outer": outer, "networks": networks}

    @property
    def num_bend_params(self) -> int:
        """The number of parameters of the map of one coordinate."""
        return {"affine": 2, "sinh_arcsinh": 4}[self.bend]

    def place(self, params, units):
        return {**params, "outer": FullRank().place(params["outer"], units)}

    def in_numpy(self, params):
        return CouplingInNumpy(params) if self.bend == "sinh_arcsinh" else None

    def distribution(self, params, target):
        outer = params["outer"]
        layers = [
            CouplingLayer(network, bent, self.bend)
            for network, bent in zip(params["networks"], halves(target.dim, self.num_layers), strict=True)
        ]
        base = dist.Normal(jnp.zeros(target.dim), jnp.ones(target.dim), validate_args=False).to_event(1)
        transforms = [*layers, LowerCholeskyAffine(outer["loc"], scale_tril(outer))]
        return dist.TransformedDistribution(base, transforms, validate_args=False)


def init_network(generator, dim: int, hidden: int, num_in: int, num_out: int) -> dict:
    """Return a network with random weights in its hidden layer and zeros after it: the layer begins as the identity."""
    return {
        "in": jnp.asarray(generator.normal(size=(hidden, num_in)) / np.sqrt(num_in)),
        "hidden": jnp.asarray(generator.normal(size=hidden)),
        "out": jnp.asarray(np.zeros((num_out, hidden))),  # `jnp.zeros` would be compiled for each shape
        "bias": jnp.asarray(np.zeros(num_out)),
    }


def bounded(raw):
    """Return free numbers mapped into (-LARGEST, LARGEST); near zero they are unchanged."""
    return LARGEST * jnp.tanh(raw / LARGEST)


def affine(x, raw):
    shift, log_scale = raw[..., 0], bounded(raw[..., 1])
    return shift + jnp.exp(log_scale) * x, log_scale


def affine_inverse(y, raw):
    shift, log_scale = raw[..., 0], bounded(raw[..., 1])
    return (y - shift) * jnp.exp(-log_scale), log_scale


def bent(x, raw):
    """Return the image of x under a sinh-arcsinh map and then an affine map, with the log slope."""
    x, log_slope = sinh_arcsinh(x, bounded(raw[..., 2]), bounded(raw[..., 3]) / 2)
    image, log_scale = affine(x, raw)
    return image, log_slope + log_scale


def bent_inverse(y, raw):
    x, log_scale = affine_inverse(y, raw)
    x, log_slope = sinh_arcsinh_inverse(x, bounded(raw[..., 2]), bounded(raw[..., 3]) / 2)
    return x, log_slope + log_scale


BENDS = {"affine": (affine, affine_inverse), "sinh_arcsinh": (bent, bent_inverse)}


class CouplingLayer(Transform):
    """A transform of the coordinates `bent` by maps that the network makes from the others."""

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, network, bent, bend):
        self.network, self.bent, self.bend = network, bent, bend

    def raw(self, z):
        """Return the maps' parameters, of shape (..., number of bent coordinates, parameters of a map)."""
        net = self.network
        hidden = jnp.tanh(z[..., np.flatnonzero(~self.bent)] @ net["in"].T + net["hidden"])
        out = hidden @ net["out"].T + net["bias"]
        return out.reshape(*out.shape[:-1], int(self.bent.sum()), -1)

    def forward(self, x):
        """Return the image and the log determinant."""
        places = np.flatnonzero(self.bent)
        image, log_slope = BENDS[self.bend][0](x[..., places], self.raw(x))
        return x.at[..., places].set(image), jnp.sum(log_slope, axis=-1)

    def __call__(self, x):
        return self.forward(x)[0]

    def call_with_intermediates(self, x):
        return self.forward(x)

    def _inverse(self, y):
        places = np.flatnonzero(self.bent)
        return y.at[..., places].set(BENDS[self.bend][1](y[..., places], self.raw(y))[0])

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        if intermediates is not None:
            return intermediates
        # by the map back, which whoever has x only from y has compiled already
        return jnp.sum(BENDS[self.bend][1](y[..., np.flatnonzero(self.bent)], self.raw(y))[1], axis=-1)

    def tree_flatten(self):
        return (self.network,), (("network",), {"bent": self.bent, "bend": self.bend})
