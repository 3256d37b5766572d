"""Families in the units of a frame: where the standard member goes, and the best member of a normal posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from tiers import exhaustive_after

from vi_kl.families import BlockNormal, Coupling, FullRank, LowRank, MeanField, Mixture, Skewed, StudentT
from vi_kl.families.frame import Frame
from vi_kl.families.low_rank import nearest_low_rank
from vi_kl.targets import Target
from vi_kl.targets.log_density import LogDensity
from vi_kl.targets.sites import Site

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SITES = tuple(Site(name, (size,), (size,)) for name, size in (("a", 2), ("b", 1), ("c", 2)))
TARGET = Target(LogDensity(jnp.sum, False), None, SITES)
RNG = np.random.default_rng(11)
ROOT = np.array([0.02, 1.0, 40.0, 1.0, 5.0])[:, None] * RNG.normal(size=(5, 9))
COVARIANCE = ROOT @ ROOT.T
FRAME = Frame.of(RNG.normal(size=5), np.linalg.cholesky(COVARIANCE))
WITHIN = np.array([[0, 0, 1, 2, 2]]) == np.array([[0, 0, 1, 2, 2]]).T
GROUPED = np.array([[0, 0, 1, 0, 0]]) == np.array([[0, 0, 1, 0, 0]]).T


def moved(family, spread=0.3):
    """The standard member with all parameters moved."""
    params, rng = family.standard(jax.random.key(0), TARGET), np.random.default_rng(1)
    return jax.tree.map(lambda x: x + spread * rng.normal(size=np.shape(x)), params)


def placed(family, params, frame=FRAME):
    return family.place(params, family.units(frame, TARGET))


AFFINE = {
    "full_rank": FullRank(),
    "student_t": StudentT(),
    "mixture": Mixture(2),
    "coupling": Coupling(num_layers=2),
}


@pytest.mark.parametrize("name", AFFINE)
def test_families_closed_under_affine_maps_are_placed_by_the_frames_own(name):
    """log q of the placed member at loc + L u, plus log det L, is log q of the unplaced member at u."""
    family = AFFINE[name]
    with jax.enable_x64(True):
        params, u = moved(family), np.random.default_rng(2).normal(size=(3, 5))
        there = family.distribution(placed(family, params), TARGET)
        here = family.distribution(params, TARGET)
        log_there = np.asarray(jax.jit(jax.vmap(lambda one: there.log_prob(FRAME.point(one))))(u))
        log_here = np.asarray(jax.jit(jax.vmap(here.log_prob))(u))
    log_det = np.linalg.slogdet(FRAME.scale_tril)[1]
    np.testing.assert_allclose(log_there + log_det, log_here, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", [FullRank(), Skewed(), Coupling(num_layers=2)], ids=lambda f: f.name)
def test_standard_members_of_wide_families_become_the_frames_normal(family):
    with jax.enable_x64(True):
        q = family.distribution(placed(family, family.standard(jax.random.key(0), TARGET)), TARGET)
        z = FRAME.loc + np.random.default_rng(3).normal(size=(5, 5)) @ FRAME.scale_tril.T
        found = np.asarray(jax.jit(jax.vmap(q.log_prob))(z))
    np.testing.assert_allclose(found, multivariate_normal(FRAME.loc, COVARIANCE).logpdf(z), rtol=1e-9)


def reverse_kl(family, params, frame, covariance):
    """KL(q || N(frame.loc, covariance)) of a normal member, from its moments."""
    q = family.distribution(placed(family, params, frame), TARGET)
    mean, own = q.mean, getattr(q, "covariance_matrix", jnp.diag(q.variance))
    precision = np.linalg.inv(covariance)
    off = mean - frame.loc
    log_dets = np.linalg.slogdet(covariance)[1] - jnp.linalg.slogdet(own)[1]
    return 0.5 * (jnp.trace(precision @ own) + off @ precision @ off - len(off) + log_dets)


NORMAL = {
    "mean_field": MeanField(),
    "grouped": BlockNormal((("a", "c"),)),
    "full_rank": FullRank(),
}


@pytest.mark.parametrize("name", NORMAL)
def test_for_a_normal_posterior_the_standard_member_is_the_best_one(name):
    """Its KL is stationary in every parameter, and lower than that of members near it."""
    family = NORMAL[name]
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(family.standard(jax.random.key(0), TARGET))

        def kl(flat):
            return reverse_kl(family, unravel(flat), FRAME, COVARIANCE)

        steps = 0.05 * np.random.default_rng(4).normal(size=(8, len(flat)))
        steps[0] = 0.0
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(kl)))(flat + steps)
    assert np.abs(slopes[0]).max() < 1e-5
    assert np.min(values[1:]) > values[0]


def test_block_normals_are_the_product_of_conditional_covariances():
    """Against Bishop's formula, one block at a time, also for a group of sites that do not stand together in z."""
    for family, together in ((BlockNormal(), WITHIN), (BlockNormal((("c", "a"),)), GROUPED)):
        with jax.enable_x64(True):
            params = placed(family, family.standard(jax.random.key(0), TARGET))
            covariance = np.asarray(family.distribution(params, TARGET).covariance_matrix)
        expected = np.zeros((5, 5))
        for row in np.unique(together, axis=0):
            block = np.ix_(row, row)
            expected[block] = np.linalg.inv(np.linalg.inv(COVARIANCE)[block])
        np.testing.assert_allclose(covariance, expected, rtol=1e-8, atol=1e-10)
        assert (covariance[~together] == 0).all()


@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_finds_a_covariance_of_its_own_kind(rank):
    rng = np.random.default_rng(rank)
    scale, factor = rng.uniform(0.01, 10, 12), rng.normal(size=(12, rank)) * rng.uniform(0.1, 30, (12, 1))
    reference = np.diag(scale**2) + factor @ factor.T
    found_scale, found_factor = nearest_low_rank(np.linalg.inv(reference), rank)
    np.testing.assert_allclose(np.diag(found_scale**2) + found_factor @ found_factor.T, reference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", exhaustive_after(1, range(3)))
def test_low_rank_starts_next_to_the_best_of_its_kind(seed):
    """Found by a general optimiser, over all scales and factors; what is lost is for scales kept off zero."""
    dim, rank, rng = 6, 2, np.random.default_rng(seed)
    root = rng.normal(size=(dim, 2 * dim))
    precision = np.linalg.inv(root @ root.T)

    def kl(flat):
        scale, factor = np.exp(flat[:dim]), flat[dim:].reshape(dim, rank)
        own = np.diag(scale**2) + factor @ factor.T
        return 0.5 * (np.trace(precision @ own) - dim - np.linalg.slogdet(own)[1] - np.linalg.slogdet(precision)[1])

    scale, factor = nearest_low_rank(precision, rank)
    start = np.concatenate([np.log(scale), factor.ravel()])
    tries = [start, *(rng.normal(size=len(start)) for _ in range(8))]
    best = min(minimize(kl, one, method="BFGS").fun for one in tries)
    independent = kl(np.concatenate([np.log(1 / np.sqrt(np.diag(precision))), np.zeros(dim * rank)]))
    assert kl(start) - best < 0.02 * (independent - best)


@pytest.mark.landing
def test_low_rank_beats_mean_field_and_its_draws_have_its_covariance():
    family = LowRank(2)
    with jax.enable_x64(True):
        params = family.standard(jax.random.key(0), TARGET)
        kl = float(reverse_kl(family, params, FRAME, COVARIANCE))
        mean_field = float(reverse_kl(MeanField(), MeanField().standard(None, TARGET), FRAME, COVARIANCE))
        there = placed(family, params)
        q = family.distribution(there, TARGET)
        push = jax.jit(jax.vmap(family.push(there, TARGET)))
        u = np.random.default_rng(5).normal(size=(40_000, 7))
        z, log_q = push(u)
        covariance = np.asarray(q.covariance_matrix)
    assert family.noise_dim(TARGET) == 7
    assert 0 < kl < 0.5 * mean_field, (kl, mean_field)
    sd = np.sqrt(np.diag(covariance))
    # a sample covariance's error is at most sqrt(2 / n) in these units
    np.testing.assert_allclose(np.cov(z, rowvar=False) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.03)
    np.testing.assert_allclose(log_q[:20], multivariate_normal(there["loc"], covariance).logpdf(z[:20]), rtol=1e-8)


@pytest.mark.parametrize("family", [MeanField(), BlockNormal(), LowRank(), FullRank()], ids=lambda f: f.name)
def test_frames_of_independent_scales_are_frames_too(family):
    """The form that targets of very many dimensions have."""
    scales = np.array([1e-3, 1.0, 40.0, 1.0, 5.0])
    with jax.enable_x64(True):
        params = family.standard(jax.random.key(0), TARGET)
        kl = float(reverse_kl(family, params, Frame.of(FRAME.loc, scales), np.diag(scales**2)))
    assert abs(kl) < 1e-3  # a low-rank member keeps small columns to grow from


def test_standard_mixtures_are_as_wide_as_the_standard_normal():
    family = Mixture(4)
    with jax.enable_x64(True):
        q = family.distribution(family.standard(jax.random.key(3), TARGET), TARGET)
        np.testing.assert_allclose(q.mean, 0, atol=1e-12)
        np.testing.assert_allclose(np.sum(q.variance), 5.0, rtol=1e-9)
