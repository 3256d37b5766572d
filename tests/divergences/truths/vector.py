"""Gaussian vectors of every kind, against each other: by their means and covariances; and independent parts."""

import itertools

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import scipy.sparse
from mpmath import mpf

from truths.case import case, exact
from truths.formulas import dirichlet, multivariate_normal

SIZE = 4


def gaussian(loc_p, covariance_p, loc_q, covariance_q):
    """KL between Gaussians from mpmath vectors and matrices."""
    precision = mpmath.inverse(covariance_q)
    shift = loc_p - loc_q
    trace = sum((precision * covariance_p)[i, i] for i in range(len(loc_p)))
    log_dets = mpmath.log(mpmath.det(covariance_q)) - mpmath.log(mpmath.det(covariance_p))
    return (trace - len(loc_p) + log_dets + (shift.T * precision * shift)[0]) / 2


def column(values):
    return mpmath.matrix([mpf(float(x)) for x in values])


def matrix(rows):
    return mpmath.matrix(exact(np.asarray(rows)))


def diagonal(values):
    return mpmath.diag([mpf(float(x)) for x in values])


@case(dist.MultivariateNormal, dist.MultivariateNormal)
def multivariate_normal_pair(draw):
    trils = draw.cholesky_pair(int(draw.rng.choice([2, 5])))
    locs = draw.loc_pair(np.diag(trils[1]))
    p, q = (
        dist.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(t)) for m, t in zip(locs, trils, strict=True)
    )
    return p, q, multivariate_normal(exact(locs[0]), exact(trils[0]), exact(locs[1]), exact(trils[1]))


@case(dist.LowRankMultivariateNormal, dist.LowRankMultivariateNormal)
def low_rank_pair(draw):
    """Factors up to a thousand times the independent part; of equal rank and near-equal, or unrelated."""
    rng, step = draw.rng, draw.relative_step()
    factor = rng.normal(size=(SIZE, 2)) * 10 ** rng.uniform(-2, 3) * 10 ** rng.uniform(-2, 2, (SIZE, 1))
    variances = 10 ** rng.uniform(-1, 1, SIZE)
    if rng.random() < 0.7:
        factors = factor, factor * np.exp(step * rng.normal(size=factor.shape))
        scales = variances, variances * np.exp(step * rng.normal(size=SIZE))
    else:
        factors = factor, rng.normal(size=(SIZE, 1))
        scales = variances, 10 ** rng.uniform(-1, 1, SIZE)
    factors, scales = [draw.rounded(x) for x in factors], [draw.rounded(x) for x in scales]
    locs = draw.loc_pair(np.sqrt(scales[1]))
    members = [low_rank(*parts) for parts in zip(locs, factors, scales, strict=True)]
    return members[0][0], members[1][0], gaussian(*members[0][1:], *members[1][1:])


def low_rank(loc, factor, variances):
    p = dist.LowRankMultivariateNormal(*map(jnp.asarray, (loc, factor, variances)))
    return p, column(loc), matrix(factor) * matrix(factor).T + diagonal(variances)


@case(dist.CirculantNormal, dist.CirculantNormal)
def circulant_pair(draw):
    size = int(draw.rng.choice([5, 6]))
    spectra = draw.positive_pair(size=size // 2 + 1, low=-3, high=3)
    locs = draw.loc_pair(np.full(size, np.sqrt(spectra[1].mean())))
    members = [circulant(*parts) for parts in zip(locs, spectra, strict=True)]
    return members[0][0], members[1][0], gaussian(*members[0][1:], *members[1][1:])


def circulant(loc, spectrum):
    """The covariance by its definition: entry (i, j) is the inverse Fourier transform at i - j."""
    size = len(loc)
    row = [
        sum(mpf(float(spectrum[min(k, size - k)])) * mpmath.cos(2 * mpmath.pi * k * i / size) for k in range(size))
        / size
        for i in range(size)
    ]
    covariance = mpmath.matrix([[row[(i - j) % size] for j in range(size)] for i in range(size)])
    p = dist.CirculantNormal(jnp.asarray(loc), covariance_rfft=jnp.asarray(spectrum))
    return p, column(loc), covariance


@case(dist.GaussianRandomWalk, dist.GaussianRandomWalk)
def random_walk_pair(draw):
    members = [random_walk(scale) for scale in draw.positive_pair(low=-4, high=4)]
    return members[0][0], members[1][0], gaussian(*members[0][1:], *members[1][1:])


def random_walk(scale):
    covariance = [[mpf(float(scale)) ** 2 * (min(i, j) + 1) for j in range(SIZE)] for i in range(SIZE)]
    return dist.GaussianRandomWalk(jnp.asarray(scale), SIZE), column(np.zeros(SIZE)), mpmath.matrix(covariance)


@case(dist.CAR, dist.CAR)
def autoregression_pair(draw):
    rng, step = draw.rng, draw.relative_step()
    rho = rng.choice([-1, 1]) * (1 - 10 ** rng.uniform(-3, 0))
    correlations = draw.rounded(rho), draw.rounded(rho * (1 - step * rng.random()))
    precisions = draw.positive_pair(low=-3, high=3)
    weights = adjacency(draw)
    changed = np.exp(step * rng.normal(size=weights.shape)) if rng.random() < 0.5 else np.ones(weights.shape)
    graphs = weights, draw.rounded(weights * (changed + changed.T))
    if rng.random() < 0.5:
        graphs = weights, weights
    locs = draw.loc_pair(np.full(SIZE, precisions[1] ** -0.5))
    members = [autoregression(*parts) for parts in zip(locs, correlations, precisions, graphs, strict=True)]
    return members[0][0], members[1][0], gaussian(*members[0][1:], *members[1][1:])


def adjacency(draw):
    """A ring, with weights or without."""
    ring = np.roll(np.eye(SIZE), 1, axis=0) + np.roll(np.eye(SIZE), -1, axis=0)
    weights = draw.rng.random((SIZE, SIZE)) + 0.1 if draw.rng.random() < 0.5 else np.ones((SIZE, SIZE))
    return draw.rounded(ring * (weights + weights.T) / 2)


def autoregression(loc, rho, tau, weights, sparse=False):
    exact_weights = matrix(weights)
    rows = [sum(exact_weights[i, j] for j in range(SIZE)) for i in range(SIZE)]
    precision = mpf(float(tau)) * (mpmath.diag(rows) - mpf(float(rho)) * exact_weights)
    graph = scipy.sparse.csr_matrix(weights) if sparse else weights
    p = dist.CAR(*map(jnp.asarray, (loc, rho, tau)), graph, is_sparse=sparse)
    return p, column(loc), mpmath.inverse(precision)


def any_multivariate_normal(draw, loc):
    tril = draw.cholesky_pair(SIZE)[0]
    p = dist.MultivariateNormal(jnp.asarray(loc), scale_tril=jnp.asarray(tril))
    return p, column(loc), matrix(tril) * matrix(tril).T


def any_low_rank(draw, loc):
    factor = draw.rng.normal(size=(SIZE, 2)) * 10 ** draw.rng.uniform(-2, 2)
    variances = 10 ** draw.rng.uniform(-1, 1, SIZE)
    return low_rank(loc, draw.rounded(factor), draw.rounded(variances))


def any_independent(draw, loc):
    scales = draw.positive_pair(size=SIZE, low=-3, high=3)[0]
    p = dist.Normal(jnp.asarray(loc), jnp.asarray(scales)).to_event(1)
    return p, column(loc), diagonal(scales) ** 2


def any_circulant(draw, loc):
    return circulant(loc, draw.rounded(10 ** draw.rng.uniform(-2, 2, SIZE // 2 + 1)))


def any_random_walk(draw, loc):
    return random_walk(draw.positive_pair(low=-3, high=3)[0])


def any_autoregression(draw, loc):
    rho = draw.rounded(draw.rng.choice([-1, 1]) * (1 - 10 ** draw.rng.uniform(-2, 0)))
    tau = draw.positive_pair(low=-3, high=3)[0]
    return autoregression(loc, rho, tau, adjacency(draw), sparse=draw.rng.random() < 0.5)


KINDS = {
    dist.MultivariateNormal: any_multivariate_normal,
    dist.LowRankMultivariateNormal: any_low_rank,
    dist.Independent: any_independent,
    dist.CirculantNormal: any_circulant,
    dist.GaussianRandomWalk: any_random_walk,
    dist.CAR: any_autoregression,
}


def register_mixed(p_class, q_class):
    @case(p_class, q_class)
    def gaussians(draw):
        locs = draw.loc_pair(np.ones(SIZE))
        p, *moments_p = KINDS[p_class](draw, locs[0])
        q, *moments_q = KINDS[q_class](draw, locs[1])
        return p, q, gaussian(*moments_p, *moments_q)


for classes in itertools.permutations(KINDS, 2):
    register_mixed(*classes)


def nearly_white(draw):
    """Equal variances make an independent vector circulant too, so that the two can nearly agree."""
    rng, step = draw.rng, draw.relative_step()
    scale = 10 ** rng.uniform(-3, 3)
    scales = draw.rounded(scale * np.exp(step * rng.normal(size=SIZE)))
    spectrum = draw.rounded(scale**2 * np.exp(step * rng.normal(size=SIZE // 2 + 1)))
    locs = draw.loc_pair(scales)
    independent = dist.Normal(jnp.asarray(locs[0]), jnp.asarray(scales)).to_event(1)
    covariance = diagonal(scales) ** 2
    return (independent, column(locs[0]), covariance), circulant(locs[1], spectrum)


@case(dist.Independent, dist.CirculantNormal)
def nearly_white_independent(draw):
    (p, *moments_p), (q, *moments_q) = nearly_white(draw)
    return p, q, gaussian(*moments_p, *moments_q)


@case(dist.CirculantNormal, dist.Independent)
def nearly_white_circulant(draw):
    (q, *moments_q), (p, *moments_p) = nearly_white(draw)
    return p, q, gaussian(*moments_p, *moments_q)


def register_degenerate(full_rank):
    @case(dist.ZeroSumNormal, full_rank)
    def onto_the_whole_space(draw):
        return zero_sum(draw), KINDS[full_rank](draw, np.zeros(SIZE))[0], mpf("inf")

    @case(full_rank, dist.ZeroSumNormal)
    def onto_a_hyperplane(draw):
        return KINDS[full_rank](draw, np.zeros(SIZE))[0], zero_sum(draw), mpf("inf")


def zero_sum(draw):
    return dist.ZeroSumNormal(jnp.asarray(draw.positive_pair(low=-3, high=3)[0]), (SIZE,))


for kind in KINDS:
    register_degenerate(kind)


@case(dist.Independent, dist.Independent)
def independent_pair(draw):
    """Independent pairs add up; three Betas stand for any inner distribution."""
    pairs = [draw.positive_pair(size=2) for _ in range(3)]
    p, q = (np.stack([pair[side] for pair in pairs], -1) for side in (0, 1))
    truth = sum(dirichlet(exact(a), exact(b)) for a, b in pairs)
    return (*(dist.Beta(jnp.asarray(x[0]), jnp.asarray(x[1])).to_event(1) for x in (p, q)), truth)
