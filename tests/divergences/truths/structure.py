"""Structure: masks, shared transforms, point masses."""

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import inf, mpf
from numpyro.distributions import transforms

from truths.case import case, exact
from truths.formulas import gamma, multivariate_normal, normal


def gammas(draw):
    (a, c), (b, d) = draw.positive_pair(low=-2, high=4), draw.positive_pair(low=-2, high=3)
    pair = [dist.Gamma(jnp.asarray(x), jnp.asarray(y)) for x, y in ((a, b), (c, d))]
    return *pair, gamma(*map(exact, (a, b, c, d)))


@case(dist.MaskedDistribution, dist.MaskedDistribution)
def masked_gammas(draw):
    p, q, truth = gammas(draw)
    masks = draw.rng.random(2) < 0.8
    kept = [bool(m) if draw.rng.random() < 0.5 else jnp.asarray(m) for m in masks]
    p, q = (dist.MaskedDistribution(d, mask) for d, mask in zip((p, q), kept, strict=True))
    return p, q, truth if masks.all() else mpf(0)


def normals(draw, scale_low=-4):
    scales = draw.positive_pair(low=scale_low, high=3)
    locs = draw.loc_pair(scales[1])
    pair = [dist.Normal(jnp.asarray(m), jnp.asarray(s)) for m, s in zip(locs, scales, strict=True)]
    return *pair, normal(*map(exact, (locs[0], scales[0], locs[1], scales[1])))


def both(parts, make_transform):
    """The transform is made twice, as two objects."""
    p, q, truth = parts
    return *(dist.TransformedDistribution(d, make_transform()) for d in (p, q)), truth


SCALAR_TRANSFORMS = (
    lambda: transforms.AffineTransform(jnp.asarray(0.5), jnp.asarray(-2.0)),
    transforms.ExpTransform,
    transforms.SigmoidTransform,
    lambda: [transforms.AffineTransform(1.0, 3.0), transforms.SigmoidTransform(), transforms.PowerTransform(2.0)],
    lambda: transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(1.0, 3.0)]),
    transforms.SoftplusTransform,
)


@case(dist.TransformedDistribution, dist.TransformedDistribution)
def transformed_normals(draw):
    return both(normals(draw), SCALAR_TRANSFORMS[draw.rng.integers(len(SCALAR_TRANSFORMS))])


@case(dist.TransformedDistribution, dist.TransformedDistribution)
def logarithms_of_gammas(draw):
    return both(gammas(draw), lambda: transforms.ExpTransform().inv)


@case(dist.TransformedDistribution, dist.TransformedDistribution)
def partly_shared_transforms(draw):
    """Only the last of them is the same: the normals before it have moved."""
    scales, shift = draw.positive_pair(low=-2, high=2), draw.rounded(2.0)
    p, q = (
        dist.TransformedDistribution(
            dist.LogNormal(jnp.asarray(draw.rounded(x)), jnp.asarray(s)), transforms.AffineTransform(shift, shift)
        )
        for x, s in zip((0.5, 0.75), scales, strict=True)
    )
    return p, q, normal(mpf(0.5), exact(scales[0]), mpf(0.75), exact(scales[1]))


@case(dist.TransformedDistribution, dist.TransformedDistribution)
def broken_sticks(draw):
    """Vectors on the simplex, whose normals are independent or not."""
    trils = draw.cholesky_pair(2)
    locs = draw.rounded(draw.rng.normal(size=(2, 2)))
    truth = multivariate_normal(exact(locs[0]), exact(trils[0]), exact(locs[1]), exact(trils[1]))
    p, q = (
        dist.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(t)) for m, t in zip(locs, trils, strict=True)
    )
    return both((p, q, truth), transforms.StickBreakingTransform)


@case(dist.RelaxedBernoulliLogits, dist.RelaxedBernoulliLogits)
def relaxed_coins(draw):
    """Of one temperature: logistic variables that are shifted. Powers of 2 divide the logits without rounding."""
    temperature = draw.rounded(2.0 ** draw.rng.integers(-3, 4))
    logits = draw.loc_pair(draw.rounded(1.0))
    d = abs(exact(logits[0]) - exact(logits[1]))
    p, q = (dist.RelaxedBernoulliLogits(jnp.asarray(temperature), jnp.asarray(x)) for x in logits)
    return p, q, d * mpmath.coth(d / 2) - 2 if d else mpf(0)


@case(dist.Delta, dist.Delta)
def point_masses(draw):
    at = draw.rounded(draw.rng.normal(size=2))
    moved = np.nextafter(at, draw.rounded(9.0)) if draw.rng.random() < 0.5 else at
    event_dim = int(draw.rng.integers(2))
    p, q = (dist.Delta(jnp.asarray(v if event_dim else v[0]), event_dim=event_dim) for v in (at, moved))
    return p, q, mpf(0) if moved is at else inf


@case(dist.Delta, dist.MaskedDistribution)
def point_masses_against_masked_ones(draw):
    p, q, truth = point_masses(draw)
    mask = bool(draw.rng.integers(2))
    return p, dist.MaskedDistribution(q, mask), truth if mask else mpf(0)
