"""The normal and Student's t around a point, for every scale, on the host and in compiled programs."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from vi_kl.core.gaussian import Gaussian, StudentT, gaussian_of_draws
from vi_kl.core.precision import in_float64
from vi_kl.core.scales import Diagonal, Inverse, Root, Scale, Triangular
from vi_kl.divergences import kl_divergence

DIM = 4
RNG = np.random.default_rng(5)
LOC = RNG.normal(size=DIM)
ROOT = RNG.normal(size=(DIM, DIM))
TRIL = np.linalg.cholesky(ROOT @ ROOT.T)
SDS = np.array([0.1, 1.0, 3.0, 20.0])
Z = LOC + RNG.normal(size=(7, DIM)) * 3
APART = 10.0 ** np.array([-10, -3, 0, 10])  # sds whose variances are forty orders of magnitude apart
SCALES = {
    "diagonal": (Diagonal(SDS), np.diag(SDS)),
    "triangular": (Triangular(TRIL), TRIL),
    "root": (Root(ROOT), ROOT),
    "inverse": (Inverse(Triangular(TRIL)), np.linalg.inv(TRIL)),
    "inverse of a root": (Inverse(Root(ROOT)), np.linalg.inv(ROOT)),
    "badly scaled": (Triangular(APART[:, None] * TRIL), APART[:, None] * TRIL),
    "badly scaled diagonal": (Diagonal(APART), np.diag(APART)),
}


class OneByOne(Scale):
    """A scale with the operations that have no default: what a new one has to offer."""

    def __init__(self, matrix):
        self.stored = matrix

    dim = property(lambda self: len(self.stored))
    log_det = property(lambda self: np.linalg.slogdet(self.stored)[1])

    def apply(self, u):
        return np.einsum("ij,...j->...i", self.stored, u)

    def apply_transpose(self, v):
        return np.einsum("ji,...j->...i", self.stored, v)

    def solve(self, x):
        return np.einsum("ij,...j->...i", np.linalg.inv(self.stored), x)

    def solve_transpose(self, v):
        return np.einsum("ji,...j->...i", np.linalg.inv(self.stored), v)

    def times(self, factor):
        return OneByOne(factor * self.stored)


SCALES["a new one"] = (OneByOne(TRIL), TRIL)
every_scale = pytest.mark.parametrize("kind", SCALES)
traced_scale = pytest.mark.parametrize("kind", [kind for kind in SCALES if kind != "a new one"])


def close(found, expected, rtol=1e-9):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=0)


def size_of_rows(matrix) -> np.ndarray:
    return np.linalg.norm(matrix, axis=1, keepdims=True)


def exactly(matrix) -> tuple[np.ndarray, float, np.ndarray]:
    """The covariance of a square root, half the log of its determinant, and its inverse, of 60 digits."""
    with mpmath.workdps(60):
        root = mpmath.matrix(matrix.tolist())
        covariance = root * root.T
        inverse = covariance**-1
        as_array = lambda m: np.array(m.tolist(), dtype=float)  # noqa: E731
        return as_array(covariance), float(mpmath.log(abs(mpmath.det(root)))), as_array(inverse)


def log_prob_exactly(matrix, z) -> np.ndarray:
    with mpmath.workdps(60):
        root = mpmath.matrix(matrix.tolist())
        constant = mpmath.log(abs(mpmath.det(root))) + len(matrix) * mpmath.log(2 * mpmath.pi) / 2
        us = [mpmath.lu_solve(root, mpmath.matrix(one.tolist()) - mpmath.matrix(LOC.tolist())) for one in z]
        return np.array([float(-mpmath.fsum(x**2 for x in u) / 2 - constant) for u in us])


# Scales ----------------------------------------------------------------------------------------------------------


@every_scale
def test_a_scale_is_its_matrix(kind):
    scale, matrix = SCALES[kind]
    covariance, log_det, precision = exactly(matrix)
    assert scale.dim == DIM
    np.testing.assert_allclose(scale.matrix / size_of_rows(matrix), matrix / size_of_rows(matrix), atol=1e-12)
    close(scale.log_det, log_det)
    close(np.diag(scale.covariance), np.diag(covariance))
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(scale.covariance / size, covariance / size, atol=1e-12)
    size = np.sqrt(np.outer(np.diag(precision), np.diag(precision)))
    np.testing.assert_allclose(scale.precision / size, precision / size, atol=1e-10)
    close(scale.sd, np.sqrt(np.diag(covariance)))
    close(scale.conditional_sd, 1 / np.sqrt(np.diag(precision)))
    assert not np.triu(scale.tril, 1).any()
    assert (np.diag(scale.tril) > 0).all()
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(scale.tril @ scale.tril.T / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=1e-12)
    close(scale.times(0.5).matrix, 0.5 * np.asarray(scale.matrix), 1e-12)


@every_scale
@pytest.mark.parametrize("shape", [(DIM,), (3, DIM), (2, 3, DIM), (0, DIM)], ids=str)
def test_products_and_solutions_of_rows(kind, shape):
    scale, matrix = SCALES[kind]
    u = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_allclose(scale.apply(u), u @ matrix.T, rtol=1e-9, atol=1e-9 * np.abs(matrix).max())
    np.testing.assert_allclose(scale.apply_transpose(u), u @ matrix, rtol=1e-9, atol=1e-9 * np.abs(matrix).max())
    np.testing.assert_allclose(scale.solve(scale.apply(u)), u, atol=1e-9)
    np.testing.assert_allclose(scale.apply_transpose(scale.solve_transpose(u)), u, atol=1e-9)
    if len(shape) == 2:
        np.testing.assert_allclose(scale.matmul(u.T), scale.apply(u).T, rtol=1e-12)


@pytest.mark.parametrize("kind", ["triangular", "root"])
def test_what_is_not_finite_stays_so_and_does_not_raise(kind):
    scale, _ = SCALES[kind]
    solved = scale.solve(np.array([[np.nan] * DIM, [1.0] * DIM, [np.inf] * DIM]))
    np.testing.assert_array_equal(np.isfinite(solved).all(axis=1), [False, True, False])


@pytest.mark.parametrize("scale", [Triangular(np.tril(np.ones((3, 3))) * [1, 0, 1]), Root(np.ones((3, 3)))], ids=repr)
def test_a_singular_scale_is_refused(scale):
    with pytest.raises(np.linalg.LinAlgError):
        scale.solve(np.ones(3))


# The normal ------------------------------------------------------------------------------------------------------


@every_scale
def test_the_density(kind):
    scale, matrix = SCALES[kind]
    normal = Gaussian(LOC, scale)
    z = np.concatenate([normal.unwhiten(RNG.normal(size=(5, DIM))), LOC[None]])
    close(normal.log_prob(z), log_prob_exactly(matrix, z), 1e-7)
    np.testing.assert_allclose(normal.unwhiten(normal.whiten(z)), z, rtol=1e-9)
    close(normal.squared_distance(z)[:-1], (normal.whiten(z) ** 2).sum(axis=1)[:-1])
    assert normal.log_prob(z[0]) == pytest.approx(normal.log_prob(z)[0], rel=1e-12)
    _, log_det, _ = exactly(matrix)
    assert normal.entropy == pytest.approx(log_det + DIM / 2 * np.log(2 * np.pi * np.e), rel=1e-9)


@pytest.mark.parametrize("kind", ["diagonal", "triangular", "root", "inverse"])
def test_scipy_agrees(kind):
    scale, matrix = SCALES[kind]
    normal, exact = Gaussian(LOC, scale), stats.multivariate_normal(LOC, matrix @ matrix.T)
    close(normal.log_prob(Z), exact.logpdf(Z))
    close(normal.entropy, exact.entropy())
    close(normal.covariance, exact.cov)
    close(normal.sd, np.sqrt(np.diag(exact.cov)))
    close(normal.conditional_sd, 1 / np.sqrt(np.diag(np.linalg.inv(exact.cov))))
    close(normal.scaled(3.0).log_prob(Z), stats.multivariate_normal(LOC, 9 * exact.cov).logpdf(Z))


@every_scale
def test_draws_have_its_moments(kind):
    scale, matrix = SCALES[kind]
    n, normal = 40_000, Gaussian(LOC, scale)
    u = np.linalg.solve(matrix, (normal.sample(np.random.default_rng(2), n) - LOC).T).T
    assert np.abs(u.mean(axis=0) * np.sqrt(n)).max() < 4.5
    product = np.einsum("ni,nj->nij", u, u) - np.eye(DIM)
    assert np.abs(product.mean(axis=0) / product.std(axis=0) * np.sqrt(n)).max() < 4.5


@every_scale
def test_the_ellipsoid_holds_its_share(kind):
    normal = Gaussian(LOC, SCALES[kind][0])
    z = normal.sample(np.random.default_rng(3), 20_000)
    for mass in (0.1, 0.9):
        error = np.sqrt(mass * (1 - mass) / len(z))
        assert abs(normal.holds(z, mass).mean() - mass) < 4 * error


@in_float64
def closed_form_kl(p, q):
    a, b = (dist.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(Root(matrix).tril)) for m, matrix in (p, q))
    return float(kl_divergence(a, b))


@pytest.mark.parametrize("q_kind", ["diagonal", "triangular", "root", "inverse", "a new one"])
@pytest.mark.parametrize("p_kind", ["diagonal", "triangular", "root", "inverse", "a new one"])
def test_kl_is_the_closed_form(p_kind, q_kind):
    (p, p_matrix), (q, q_matrix) = SCALES[p_kind], SCALES[q_kind]
    found = Gaussian(LOC, p).kl(Gaussian(LOC - 1, q))
    assert found == pytest.approx(closed_form_kl((LOC, p_matrix), (LOC - 1, q_matrix)), rel=1e-9)


@every_scale
@pytest.mark.parametrize("step", [1e-2, 1e-4, 1e-6])
def test_kl_of_nearly_equal_normals_keeps_its_digits(kind, step):
    """It is dim (x - log(1 + x) + x^2 / 2) for a relative change x of the scale: in the end dim x^2."""
    normal = Gaussian(LOC, SCALES[kind][0])
    with mpmath.workdps(40):
        x = mpmath.mpf(step)
        expected = float(DIM * (x - mpmath.log1p(x) + x**2 / 2))
    assert normal.scaled(1 + step).kl(normal) == pytest.approx(expected, rel=1e-7)
    assert normal.kl(normal) == pytest.approx(0.0, abs=1e-25)


def test_constructors():
    covariance = TRIL @ TRIL.T
    assert isinstance(Gaussian.of([0.0, 1.0], [1, 2]).scale, Diagonal)
    assert isinstance(Gaussian.of(LOC, TRIL).scale, Triangular)
    close(Gaussian.of_covariance(LOC, covariance).scale.matrix, TRIL)
    apart = Gaussian.of_covariance(LOC, covariance * np.outer(APART, APART))
    close(apart.scale.matrix, APART[:, None] * TRIL)
    with pytest.raises(np.linalg.LinAlgError):
        Gaussian.of_covariance(LOC, -covariance)


def test_the_normal_of_draws():
    z = np.random.default_rng(4).normal(size=(500, DIM)) @ TRIL.T * APART
    found = gaussian_of_draws(z)
    close(found.loc, z.mean(axis=0))
    close(found.covariance, np.cov(z, rowvar=False), 1e-7)
    for flat in (z * [1, 1, 1, 0], z[:, [0, 1, 2, 2]], np.where(z > 0, np.inf, z)):
        with np.errstate(invalid="ignore"):
            assert gaussian_of_draws(flat) is None


# Student's t -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0.5, 4.0, 30.0])
@pytest.mark.parametrize("kind", ["diagonal", "triangular", "root", "inverse"])
def test_student_t_is_scipys(kind, nu):
    scale, matrix = SCALES[kind]
    student = StudentT(Gaussian(LOC, scale), nu)
    exact = stats.multivariate_t(LOC, matrix @ matrix.T, nu)
    close(student.log_prob(Z), exact.logpdf(Z))
    assert student.log_peak == pytest.approx(exact.logpdf(LOC), rel=1e-12)
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(lambda z: numpyro_t(matrix, nu).log_prob(z)))(jnp.asarray(Z))
    close(student.gradient(Z), slope)


def numpyro_t(matrix, nu):
    return dist.MultivariateStudentT(nu, jnp.asarray(LOC), jnp.asarray(Root(matrix).tril))


@pytest.mark.parametrize("kind", ["diagonal", "triangular", "root", "inverse"])
def test_draws_of_student_t(kind):
    scale, matrix = SCALES[kind]
    z = StudentT(Gaussian(LOC, scale), 4.0).sample(np.random.default_rng(6), 5000)
    u = np.linalg.solve(matrix, (z - LOC).T)
    assert all(stats.kstest(one, stats.t(4.0).cdf).pvalue > 1e-3 for one in u)
    # the squared distance over dim is F distributed: all coordinates share one chi-squared variable
    assert stats.kstest((u**2).mean(axis=0), stats.f(DIM, 4.0).cdf).pvalue > 1e-3


# Compiled programs ------------------------------------------------------------------------------------------------


OPERATIONS = {
    "log_prob": lambda normal, z: normal.log_prob(z),
    "whiten": lambda normal, z: normal.whiten(z),
    "unwhiten": lambda normal, z: normal.unwhiten(z),
    "pull": lambda normal, z: normal.scale.apply_transpose(z),
    "solve_transpose": lambda normal, z: normal.scale.solve_transpose(z),
    "matmul": lambda normal, z: normal.scale.matmul(z.T),
    "holds": lambda normal, z: normal.holds(z, 0.5),
    "moments": lambda normal, z: (normal.covariance, normal.precision, normal.sd, normal.conditional_sd),
    "numbers": lambda normal, z: (normal.entropy, normal.log_det, normal.scaled(2.0).log_volume),
    "student": lambda normal, z: (StudentT(normal, 3.0).log_prob(z), StudentT(normal, 3.0).gradient(z)),
}


@traced_scale
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_compiled_program_says_what_the_host_says(kind, operation):
    normal, function = Gaussian(LOC, SCALES[kind][0]), OPERATIONS[operation]
    z = normal.unwhiten(np.random.default_rng(8).normal(size=(5, DIM)))
    expected = function(normal, z)
    compare = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)  # noqa: E731
    with jax.enable_x64(True):
        jax.tree.map(compare, jax.jit(function)(normal, z), expected)
        if operation in ("log_prob", "whiten", "unwhiten", "pull", "solve_transpose"):
            each = jax.jit(jax.vmap(function, in_axes=(None, 0)))(normal, z)
            jax.tree.map(compare, each, expected)


@pytest.mark.parametrize("kinds", [("diagonal", "diagonal"), ("triangular", "diagonal"), ("triangular", "triangular")])
def test_kl_and_its_gradient_in_a_compiled_program(kinds):
    p, q = (Gaussian(LOC + i, SCALES[kind][0].times(1 + i)) for i, kind in enumerate(kinds))
    with jax.enable_x64(True):
        value, slope = jax.jit(jax.value_and_grad(lambda p, q: p.kl(q)))(p, q)
    assert value == pytest.approx(p.kl(q), rel=1e-12)
    step = np.zeros(DIM)
    step[1] = 1e-6
    up, down = (Gaussian(p.loc + sign * step, p.scale).kl(q) for sign in (1, -1))
    assert slope.loc[1] == pytest.approx((up - down) / 2e-6, rel=1e-6)


@in_float64
def log_prob_at(normal, z):
    return jax.jit(lambda normal, z: normal.log_prob(z))(normal, z)


@pytest.mark.parametrize("kind", ["diagonal", "triangular"])
def test_sixty_four_bits_in_a_process_of_thirty_two(kind):
    assert not jax.config.jax_enable_x64
    normal = Gaussian(LOC, SCALES[kind][0])
    assert log_prob_at(normal, Z).dtype == normal.log_prob(Z).dtype == np.float64
    np.testing.assert_allclose(log_prob_at(normal, Z), normal.log_prob(Z), rtol=1e-13)


def test_it_is_a_pytree_of_arrays():
    normal = Gaussian(LOC, SCALES["triangular"][0])
    leaves, structure = jax.tree.flatten(StudentT(normal, 3.0))
    assert [leaf.shape for leaf in leaves] == [(DIM,), (DIM, DIM)]
    again = jax.tree.unflatten(structure, leaves)
    assert type(again.normal.scale) is Triangular
    assert again.degrees_of_freedom == 3.0
    assert structure != jax.tree.structure(StudentT(normal, 4.0))
