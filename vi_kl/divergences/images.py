"""Images of regions under NumPyro's transforms: where a transformed distribution has its probability."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import transforms

from vi_kl.divergences.sets import UNKNOWN, Interval, Region, arrays_of, is_always, region_of_constraint

FOLDS = (transforms.AbsTransform, transforms.L1BallTransform)  # not injective, by design


def image_of(distribution, region: Region) -> Region:
    """Return where a `TransformedDistribution` has its probability: the image of its base's region, step by step."""
    shape, event_dim = distribution.base_dist.shape(), distribution.base_dist.event_dim
    for transform in single_transforms(distribution.transforms):
        before, after = event_dims(transform)
        shape = transform.forward_shape(shape)
        event_dim = after + max(event_dim - before, 0)
        event_shape = shape[len(shape) - event_dim :]
        if before == after == 0:
            region = elementwise_image(region, transform)
        else:
            region = vector_image(region, transform, event_shape)
    return region


def single_transforms(several) -> list:
    """Return the transforms one after the other, without what composes them or repeats them over axes."""
    flat = []
    for transform in several:
        match transform:
            case transforms.ComposeTransform():
                flat += single_transforms(transform.parts)
            case transforms.IndependentTransform() if event_dims(transform.base_transform) == (0, 0):
                flat += single_transforms([transform.base_transform])
            case transforms._InverseTransform() if isinstance(transform._inv, transforms.ComposeTransform):
                flat += single_transforms([part.inv for part in reversed(transform._inv.parts)])
            case transforms._InverseTransform() if isinstance(transform._inv, transforms._InverseTransform):
                flat += single_transforms([transform._inv._inv])
            case _:
                flat.append(transform)
    return flat


def event_dims(transform) -> tuple[int, int]:
    """Return how many axes of an event the transform takes, and how many it gives."""
    if isinstance(transform, transforms._InverseTransform):
        return event_dims(transform._inv)[::-1]
    if isinstance(transform, transforms.AffineTransform | transforms.ExpTransform):
        dims = transform.domain.event_dim  # they do not say what becomes of every domain
        return dims, dims
    return transform.domain.event_dim, transform.codomain.event_dim


def is_known(transform) -> bool:
    """Return whether a transform is one of NumPyro's or vi_kl's own, whose codomains are reliable."""
    inner = transform._inv if isinstance(transform, transforms._InverseTransform) else transform
    return type(inner).__module__.partition(".")[0] in ("numpyro", "vi_kl")


def elementwise_image(region: Region, transform) -> Region:
    """Return the image under a transform of numbers, applied to each entry."""
    if region.pieces is None:  # the region is a set that is not a product
        return Region(dimension=region.dimension)
    inverse = isinstance(transform, transforms._InverseTransform)
    rule = RULES.get((type(transform._inv if inverse else transform), inverse))
    if rule is None or not within_domain(rule, region):
        return codomain_of(transform, region)
    pieces = tuple(rule.image(piece, transform) for piece in region.pieces)
    return dataclasses.replace(region, pieces=pieces, exact=region.exact and (not rule.folds or len(pieces) == 1))


def codomain_of(transform, region) -> Region:
    """Return all that is known of other transforms: the image lies in the codomain, and may fill it."""
    try:
        around = region_of_constraint(transform.codomain, ())
        onto = (type(transform), False) not in RULES and is_known(transform) and covers(region, transform.domain)
    except NotImplementedError:
        around, onto = UNKNOWN, False
    return dataclasses.replace(around, exact=onto, dimension=region.dimension)


def within_domain(rule, region) -> bool:
    """Return False if a part of the region is known to lie where the transform is undefined."""
    low, high = rule.domain
    ends = [end for piece in region.pieces for end in ((piece.low, low, -1), (piece.high, high, 1))]
    return not any(
        np.any(sign * np.asarray(end) > sign * limit)
        for end, limit, sign in ends
        if not isinstance(end, jax.core.Tracer)
    )


@dataclasses.dataclass(frozen=True)
class Rule:
    """A transform of numbers: its values, with limits at the ends, and the numbers that it takes.

    Attributes:
        values: the function of (xp, transform, x) that computes the image.
        domain: the smallest interval of the numbers that it takes, each of them once.
        folds: whether two numbers may have one image.
    """

    values: object
    domain: tuple[float, float] = (-np.inf, np.inf)
    folds: bool = False

    def image(self, piece: Interval, transform) -> Interval:
        """Return the interval between the images of the ends, in ascending order."""
        if self.values in (affine, inverse_affine) and is_always(piece.low, -np.inf) and is_always(piece.high, np.inf):
            return piece  # also while the parameters are being traced
        parameters = jax.tree.leaves(transform)
        xp = arrays_of(piece.low, piece.high, *parameters)
        low, high = (as_float(xp, end) for end in (piece.low, piece.high))
        with np.errstate(all="ignore"):
            if self.folds:
                ends = xp.maximum(xp.maximum(low, -high), 0), xp.maximum(-low, high)
                return Interval(*ends, piece.low_error, piece.high_error)
            first, last = self.values(xp, transform, low), self.values(xp, transform, high)
            errors = self.error(xp, transform, low, piece.low_error), self.error(xp, transform, high, piece.high_error)
            swapped = first > last
            return Interval(
                xp.where(swapped, last, first),
                xp.where(swapped, first, last),
                xp.where(swapped, errors[1], errors[0]),
                xp.where(swapped, errors[0], errors[1]),
            )

    def error(self, xp, transform, x, error):
        """Return how far rounding may have moved the image of x."""
        value = self.values(xp, transform, x)
        size = abs(value)
        if isinstance(transform, transforms.AffineTransform):
            size = size + abs(as_float(xp, transform.loc))
        moved = abs(self.values(xp, transform, x + error) - self.values(xp, transform, x - error))
        total = moved + 8 * epsilon(transform, x) * size
        return xp.where(xp.isfinite(value) & xp.isfinite(total), total, 0.0)


def as_float(xp, value):
    if xp is jnp:
        return jnp.asarray(value, dtype=jnp.result_type(float))
    return np.asarray(value, dtype=np.float64)


def epsilon(transform, x) -> float:
    """Return the coarsest rounding among the parameters; float64's for plain numbers."""
    dtypes = [leaf.dtype for leaf in (*jax.tree.leaves(transform), x) if hasattr(leaf, "dtype")]
    return max((float(jnp.finfo(d).eps) for d in dtypes if jnp.issubdtype(d, jnp.floating)), default=2.0**-52)


def affine(xp, transform, x):
    return as_float(xp, transform.loc) + as_float(xp, transform.scale) * x


def inverse_affine(xp, transform, x):
    inner = transform._inv
    return (x - as_float(xp, inner.loc)) / as_float(xp, inner.scale)


def power(xp, transform, x):
    return xp.power(x, as_float(xp, transform.exponent))


def inverse_power(xp, transform, x):
    return xp.power(x, 1 / as_float(xp, transform._inv.exponent))


def inverse_softplus(xp, _, x):
    return xp.where(x == np.inf, np.inf, xp.log(-xp.expm1(-x)) + x)


INFINITE = -np.inf, np.inf
POSITIVE = 0.0, np.inf
# the keys are the class, and whether its inverse is applied
RULES = {
    (transforms.IdentityTransform, False): Rule(lambda xp, t, x: x),
    (transforms.AffineTransform, False): Rule(affine),
    (transforms.AffineTransform, True): Rule(inverse_affine),
    (transforms.ExpTransform, False): Rule(lambda xp, t, x: xp.exp(x)),
    (transforms.ExpTransform, True): Rule(lambda xp, t, x: xp.log(x), POSITIVE),
    (transforms.PowerTransform, False): Rule(power, POSITIVE),
    (transforms.PowerTransform, True): Rule(inverse_power, POSITIVE),
    (transforms.SigmoidTransform, False): Rule(lambda xp, t, x: 1 / (1 + xp.exp(-x))),
    (transforms.SigmoidTransform, True): Rule(lambda xp, t, x: xp.log(x) - xp.log1p(-x), (0.0, 1.0)),
    (transforms.SoftplusTransform, False): Rule(lambda xp, t, x: xp.logaddexp(x, 0.0)),
    (transforms.SoftplusTransform, True): Rule(inverse_softplus, POSITIVE),
    (transforms.AbsTransform, False): Rule(None, folds=True),
}


def vector_image(region: Region, transform, event_shape) -> Region:
    """Return the image under a transform of vectors or matrices.

    It is the codomain, and all of it if the region is all of the domain.
    """
    try:
        around = region_of_constraint(transform.codomain, event_shape)
    except NotImplementedError:
        return UNKNOWN
    if isinstance(transform, FOLDS) or not is_known(transform):
        return dataclasses.replace(around, exact=False, dimension=None)
    if covers(region, transform.domain):
        return around
    return dataclasses.replace(around, exact=False, dimension=region.dimension)


def covers(region: Region, domain) -> bool:
    around = region_of_constraint(domain, (1,) * domain.event_dim)
    if around.named is not None:
        return region.exact and type(region.named) is type(around.named)
    return around.is_whole and region.is_whole
