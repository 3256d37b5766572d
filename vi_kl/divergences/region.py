"""The set of values that a distribution takes, as far as it is known.

NumPyro's `support` is only a superset for some classes: that of a transformed distribution is where its last
transform may lead, whatever its base; that of a mixture is its first component's. Here images are computed through the
transforms, and each region says whether the distribution gives probability to all of it.
"""

import dataclasses
import math

import jax
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.mixtures import MixtureGeneral, MixtureSameFamily

from vi_kl.divergences.images import image_of
from vi_kl.divergences.sets import UNKNOWN, Interval, Region, region_of_constraint

CENSORED = (dist.LeftCensoredDistribution, dist.RightCensoredDistribution, dist.IntervalCensoredDistribution)


def region_of(distribution) -> Region:
    """Return where a distribution has its probability; `UNKNOWN` if nothing can be said."""
    match distribution:
        case dist.ExpandedDistribution() | dist.MaskedDistribution():
            return region_of(distribution.base_dist)
        case dist.Independent():
            return independent(distribution)
        case MixtureSameFamily() | MixtureGeneral():
            return union(distribution)
        case dist.Delta():
            return Region((Interval(distribution.v, distribution.v),), exact=True, dimension=0)
        case dist.Levy():  # it forgets its support under jit
            return Region((Interval(distribution.loc, np.inf),), exact=True, dimension=1)
        case dist.TransformedDistribution() if is_chain(distribution):
            try:
                return image_of(distribution, region_of(distribution.base_dist))
            except NotImplementedError:  # the transform does not declare its codomain
                return UNKNOWN
    support = distribution.support
    if support is None:
        return UNKNOWN
    region = region_of_constraint(support, distribution.event_shape)
    if has_an_atom(distribution):
        return dataclasses.replace(region, dimension=None)
    return dataclasses.replace(region, exact=False) if isinstance(distribution, CENSORED) else region


def is_chain(distribution) -> bool:
    """Return whether the support that NumPyro gives is nothing but the codomain of the last transform."""
    inherited = type(distribution).support is dist.TransformedDistribution.support
    return inherited or isinstance(distribution, dist.FoldedDistribution)


def independent(distribution) -> Region:
    base = region_of(distribution.base_dist)
    copies = math.prod(distribution.event_shape[: distribution.reinterpreted_batch_ndims])
    dimension = None if base.dimension is None else base.dimension * copies
    # the named set is then that of the last axes only
    exact = base.exact and base.named is None
    return dataclasses.replace(base, dimension=dimension, named=None, exact=exact)


def union(mixture) -> Region:
    """Return the union of the components that have a positive weight."""
    if isinstance(mixture, MixtureSameFamily):
        regions = split(region_of(mixture.component_distribution), mixture)
    else:
        regions = [region_of(component) for component in mixture.component_distributions]
    regions, certain = with_weight(regions, mixture.mixing_distribution.probs)
    first, exact = regions[0], certain and all(region.exact for region in regions)
    dimension = first.dimension if len({region.dimension for region in regions}) == 1 else None
    if all(region.pieces for region in regions):
        return Region(distinct([piece for region in regions for piece in region.pieces]), None, exact, dimension)
    same = first.named is not None and all(type(region.named) is type(first.named) for region in regions)
    return Region(None, first.named if same else None, exact and same, dimension)


def with_weight(regions, weights):
    """Return the regions with a positive weight, and whether that is known."""
    if len(regions) == 1:
        return regions, True
    if isinstance(weights, jax.core.Tracer):
        return regions, False
    positive = (np.asarray(weights) > 0).reshape(-1, len(regions))
    some = [region for region, kept in zip(regions, positive.any(0), strict=True) if kept]
    return (some, bool((positive.any(0) == positive.all(0)).all())) if some else (regions, False)


def distinct(pieces) -> tuple[Interval, ...]:
    """Return the pieces without repetitions, as far as they are known."""
    kept = {}
    for piece in pieces:
        ends = ends_and_errors(piece)
        plain = all(not isinstance(end, jax.core.Tracer) and np.ndim(end) == 0 for end in ends)
        kept.setdefault(tuple(map(float, ends)) if plain else id(piece), piece)
    return tuple(kept.values())


def split(region: Region, mixture) -> list[Region]:
    """Return the region of each component; one for all if they do not differ."""
    count, axis = mixture.mixture_size, mixture.mixture_dim
    ends = [end for piece in region.pieces or () for end in ends_and_errors(piece)]
    if all(np.ndim(end) < -axis or np.shape(end)[axis] == 1 for end in ends):
        squeezed = [end if np.ndim(end) < -axis else end.squeeze(axis) for end in ends]
        return [dataclasses.replace(region, pieces=intervals(squeezed) if region.pieces else None)]

    def entry(end, k):
        if np.ndim(end) < -axis:
            return end
        return end[(..., min(k, end.shape[axis] - 1)) + (slice(None),) * (-axis - 1)]

    return [dataclasses.replace(region, pieces=intervals([entry(e, k) for e in ends])) for k in range(count)]


def ends_and_errors(piece: Interval) -> tuple:
    return piece.low, piece.high, piece.low_error, piece.high_error


def intervals(ends) -> tuple[Interval, ...]:
    return tuple(Interval(*ends[i : i + 4]) for i in range(0, len(ends), 4))


def has_an_atom(distribution) -> bool:
    """Return whether a distribution is a hurdle before a density: neither a density nor a pmf."""
    if isinstance(distribution, dist.ExpandedDistribution):
        return has_an_atom(distribution.base_dist)
    return isinstance(distribution, dist.HurdleProbs) and not is_discrete(distribution.base_dist)


def is_discrete(distribution) -> bool:
    """Return whether a distribution is a pmf.

    A transformed one is if its base is, whatever NumPyro says of its support.
    """
    match distribution:
        case dist.TransformedDistribution():
            return is_discrete(distribution.base_dist)
        case dist.ExpandedDistribution() | dist.Independent() | dist.MaskedDistribution():
            return is_discrete(distribution.base_dist)
        case MixtureSameFamily():
            return is_discrete(distribution.component_distribution)
        case MixtureGeneral():
            return all(is_discrete(component) for component in distribution.component_distributions)
        case dist.Levy():
            return False
    return distribution.support is not None and bool(distribution.support.is_discrete)
