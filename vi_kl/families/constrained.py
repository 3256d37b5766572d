"""Constrained: a standard distribution for each of the model's own sites, chosen by the site's support.

    unit interval, interval     Beta (scaled)
    positive, bounded on a side Gamma (moved)
    simplex                     Dirichlet
    real                        Normal
    any other                   a normal in z, carried to the support

Requires a target whose source tells the supports of its sites (a NumPyro model, a log density of named parameters), and
supports that do not depend on other latent sites. All entries are
independent. For conjugate models the exact posterior is a member; elsewhere a gamma or beta is skewed as scales and
probabilities are, which `MeanField` is not.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import biject_to, constraints, transforms

from vi_kl.core.errors import UnsuitableError
from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import in_float64
from vi_kl.families.family import Family
from vi_kl.families.gaussian import MeanField
from vi_kl.targets.density import require_capability
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class Constrained(Family):
    """A product over sites of distributions on each site's own support.

    Each entry's parameters are the mode, and the log of the sd that the curvature there implies, both in z: so each
    of these distributions is placed in a frame as a normal is.

    Attributes:
        choices: {site: distribution class} for sites that are not to have the default: `dist.Beta`, `dist.Gamma`,
            `dist.Dirichlet`, `dist.Normal` (normal in z, on any support) or `dist.LogNormal` (the same, on positive
            ones).
    """

    choices: Mapping[str, type] | tuple[tuple[str, type], ...] = ()

    name = "constrained"

    def __post_init__(self):
        object.__setattr__(self, "choices", tuple(sorted(dict(self.choices).items())))
        for site, choice in self.choices:
            if choice not in SUITS:
                names = ", ".join(kind.__name__ for kind in SUITS)
                raise ValueError(f"Site '{site}': choose one of {names}, not {getattr(choice, '__name__', choice)}.")

    def require(self, target):
        require_capability(target, "supports", "Constrained")
        unknown = {name for name, _ in self.choices} - set(target.site_names)
        if unknown:
            raise UnsuitableError(f"choices name sites {sorted(unknown)}; the target has {list(target.site_names)}.")
        for name, support in site_transforms(target).items():
            choice = dict(self.choices).get(name)
            if choice is not None and not isinstance(support.first, SUITS[choice]):
                raise UnsuitableError(f"Site '{name}' cannot be {choice.__name__}: its support is {support.words}.")
        refuse_moving_supports(target)

    def standard(self, key, target):
        self.require(target)
        return MeanField().standard(key, target)

    def place(self, params, units):
        return MeanField().place(params, units)

    def distribution(self, params, target):
        locs, scales = target.unravel(params["loc"]), target.unravel(jnp.exp(params["log_scale"]))
        choices, supports = dict(self.choices), site_transforms(target)
        sites = {
            name: site_distribution(supports[name], choices.get(name), locs[name], scales[name])
            for name in target.site_names
        }
        return SiteProduct(sites, target)


@dataclasses.dataclass(frozen=True)
class Support:
    """A site's support: the bijection from z to it, as a first map and those that follow."""

    words: str
    whole: transforms.Transform
    first: transforms.Transform
    rest: tuple

    @classmethod
    def of(cls, constraint) -> "Support":
        whole = bare = biject_to(constraint)
        while isinstance(bare, transforms.IndependentTransform):
            bare = bare.base_transform
        parts = bare.parts if isinstance(bare, transforms.ComposeTransform) else [bare]
        return cls(str(constraint), whole, parts[0], tuple(parts[1:]))


# the first map from z to the support that each choice requires
SUITS = {
    dist.Beta: transforms.SigmoidTransform,
    dist.Gamma: transforms.ExpTransform,
    dist.LogNormal: transforms.ExpTransform,
    dist.Dirichlet: transforms.StickBreakingTransform,
    dist.Normal: transforms.Transform,
}


def site_distribution(support: Support, choice, loc, scale):
    """Return the distribution on the site's support with mode `loc` and curvature 1 / scale^2 in z."""
    in_z = choice in (dist.Normal, dist.LogNormal)
    rest = list(support.rest)
    only_moved = all(isinstance(part, transforms.AffineTransform) for part in rest)
    if isinstance(support.first, transforms.StickBreakingTransform) and not rest and not in_z:
        return dirichlet(support.first(loc), scale)
    if isinstance(support.first, transforms.SigmoidTransform) and only_moved and not in_z:
        return moved(beta(loc, scale), rest)
    if isinstance(support.first, transforms.ExpTransform) and only_moved and not in_z:
        return moved(dist.Gamma(scale**-2, scale**-2 * jnp.exp(-loc), validate_args=False), rest)
    normal = dist.Normal(loc, scale, validate_args=False)
    if isinstance(support.first, transforms.IdentityTransform) and not rest:
        return normal
    return dist.TransformedDistribution(normal.to_event(support.whole.domain.event_dim), support.whole)


def beta(loc, scale):
    """Return the beta distribution with this mode and curvature in z.

    Its log density in z is a log share + b log(1 - share): mode a/(a + b), curvature (a + b) share (1 - share).
    """
    share = jax.nn.sigmoid(loc)
    size = scale**-2 / (share * (1 - share))
    return dist.Beta(size * share, size * (1 - share), validate_args=False)


def dirichlet(mode, scale):
    """Return the Dirichlet distribution with this mode.

    Each stick is a beta in z, whose curvature gives a concentration; the sticks' concentrations are averaged.
    """
    # what is left of the simplex before each stick is broken off
    left = jnp.flip(jnp.cumsum(jnp.flip(mode, -1), axis=-1), -1)[..., :-1]
    share = mode[..., :-1] / left
    log_size = jnp.mean(-2 * jnp.log(scale) - jnp.log(share * (1 - share) * left), axis=-1, keepdims=True)
    return dist.Dirichlet(jnp.exp(log_size) * mode, validate_args=False)


def moved(distribution, parts):
    return dist.TransformedDistribution(distribution, parts, validate_args=False) if parts else distribution


def site_transforms(target: Target, value: float = 0.0) -> dict[str, Support]:
    """Return {site: support}, with every latent at `value` in z."""
    with tracing:
        supports = target.density.supports(target.data, target.unravel(jnp.full(target.dim, value)))
    return {name: Support.of(supports[name]) for name in target.site_names}


@in_float64
def refuse_moving_supports(target: Target) -> None:
    for site in target.sites:
        z = jnp.full(site.unconstrained_shape, 0.3)
        images = [np.asarray(site_transforms(target, value)[site.name].whole(z)) for value in (0.0, 0.5)]
        if not np.array_equal(*images):
            raise ValueError(
                f"The support of site '{site.name}' depends on other sites, so no distribution of its own fits it: "
                f"use MeanField or Skewed, which are written in z."
            )


class SiteProduct(dist.Distribution):
    """A product of independent sites with these distributions, as one distribution over z."""

    support = constraints.real_vector

    def __init__(self, sites: dict, target: Target):
        self.sites, self.target = sites, target
        super().__init__(batch_shape=(), event_shape=(target.dim,))

    def site_log_prob(self, values):
        return sum(jnp.sum(self.sites[name].log_prob(values[name])) for name in self.sites)

    def sample_with_intermediates(self, key, sample_shape=()):
        if sample_shape:
            raise ValueError("Draw many by jax.vmap over keys.")
        keys = jax.random.split(key, len(self.sites))
        values = {name: self.sites[name].sample(k) for name, k in zip(self.sites, keys, strict=True)}
        density, data = self.target.density, self.target.data
        unconstrained = density.unconstrain(data, values)
        log_q = self.site_log_prob(values) + density.constrain(data, unconstrained)[1]
        return self.target.ravel(unconstrained), [log_q]

    def sample(self, key, sample_shape=()):
        return self.sample_with_intermediates(key, sample_shape)[0]

    def log_prob(self, value, intermediates=None):
        if intermediates:
            return intermediates[0]
        constrained, log_det = self.target.density.constrain(self.target.data, self.target.unravel(value))
        return self.site_log_prob(constrained) + log_det

    def site_distributions(self) -> dict:
        return self.sites
