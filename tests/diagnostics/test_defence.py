"""Wider densities beside q: KL where q's own weights are blind or heavy, on targets whose KL is known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from diagnostics.known_targets import known, modes
from diagnostics.members import full_rank, normal_on_line
from scipy import stats
from tiers import exhaustive_after

import vi_kl
from vi_kl.core.random_keys import numpy_generator
from vi_kl.diagnostics import check
from vi_kl.diagnostics.defence import Weighted, allotted, defend, weigh
from vi_kl.diagnostics.effort import Effort
from vi_kl.diagnostics.evidence import Draws, elbo
from vi_kl.diagnostics.saturation import largest_share_at_end
from vi_kl.diagnostics.without_reference import View
from vi_kl.families import Approximation, Flow
from vi_kl.targets import Target


def kl_of(target, q) -> tuple[float, float]:
    """The known evidence less a precise ELBO, and its error."""
    found = elbo(q, jax.random.key(5), 400_000)
    return target.log_evidence - found.value, found.standard_error


CASES = {
    "t df 3, 10 dims": known("heavy", 10, 4, "t", df=np.full(10, 3.0)),
    "multivariate t df 4, 20 dims": known("heavy_together", 20, 5, "t", df=4.0),
    "multivariate t df 5, 5 dims": known("heavy_together", 5, 5, "t", df=5.0),
    "5% ten times wider, 10 dims": known("mixture", 10, 2, "wide", **modes(10, 0.0, [1.0, 10.0], [0.95, 0.05])),
    "spike in a slab, 10 dims": known("mixture", 10, 2, "spike", **modes(10, 0.0, [1.0, 0.1], [0.7, 0.3])),
}


def normal_of_width(case, width: float) -> Approximation:
    data, _ = case.target.density.split(case.target.data)  # the functions close over more
    matrix = np.linalg.inv(data["inverse"])
    return full_rank(case.target, data["loc"], width**2 * matrix @ matrix.T)


WIDTHS = [(name, 1.2 if " t" in f" {name}" else 1.0) for name in CASES]


@pytest.mark.parametrize(("name", "width"), exhaustive_after(1, WIDTHS))
def test_tails_and_parts_beyond_q_are_in_the_kl(name, width, key):
    """Cases where q's own weights gave .71 to .84 of the KL, or nothing of it."""
    case = CASES[name]
    q = normal_of_width(case, width)
    c = check(q, key=key)
    reference, error = kl_of(case, q)
    assert c.label == "estimated"
    assert abs(c.reverse_kl.value - reference) < 4 * np.hypot(error, c.reverse_kl.standard_error)
    assert c.reverse_kl.standard_error < 0.05 * max(reference, 0.1)
    assert c.limits.lower < reference


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["multivariate t df 5, 5 dims", "5% ten times wider, 10 dims"])
def test_intervals_cover_at_their_level(name):
    """95% give or take three binomial errors of 120 keys."""
    case = CASES[name]
    q = normal_of_width(case, 1.1)
    reference, error = kl_of(case, q)
    found = [check(q, key=jax.random.key(seed)).reverse_kl for seed in range(120)]
    inside = [abs(kl.value - reference) < 1.96 * np.hypot(error, kl.standard_error) for kl in found]
    assert np.mean(inside) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 120)


@pytest.mark.landing
def test_a_mode_within_the_reach_of_q_is_found_in_many_dimensions(key):
    """Eight sds away in 20 dimensions is inside the ellipsoid that holds all but a millionth of a normal q."""
    case = known("mixture", 20, 2, "two", **modes(20, 8.0, [1.0, 0.7], [0.6, 0.4], axis=True))
    c = check(normal_of_width(case, 1.0), key=key)
    assert abs(c.reverse_kl.value + np.log(0.6)) < 4 * c.reverse_kl.standard_error
    assert c.inner_modes + len(c.missed_modes) == 1
    assert "mode" in c.verdict


def step(z):
    return -0.5 * z[0] ** 2 + 12.0 * (z[0] > 4)


@pytest.mark.exhaustive
def test_a_step_in_the_density_is_right_or_unknown_for_every_key():
    kl = np.log(stats.norm.cdf(4) + np.exp(12) * stats.norm.sf(4))
    q = normal_on_line(Target.from_log_density(step, 1), 0.0, 1.0)
    for seed in range(4):
        c = check(q, key=jax.random.key(seed))
        assert c.label == "unknown" or abs(c.reverse_kl.value - kl) < 4 * c.reverse_kl.standard_error


def test_without_a_density_of_q_the_wider_draws_serve_alone(key):
    """An autoregressive flow: log q at its own draws only."""
    case = known("skewed", 2, 0, "skewed", skew=np.array([0.2, -0.2]), tail=np.ones(2))
    with jax.enable_x64(True):
        params = Flow().init(key, case.target)
        sd = np.sqrt(np.diag(np.linalg.inv(case.target.density.split(case.target.data)[0]["inverse"]) ** 2))
        params |= {"loc": case.target.data["loc"], "log_scale": jnp.log(sd)} if "loc" in params else {}
        q = Approximation(Flow(), params, case.target)
        own = Draws(q, key, 8192)
        view = View(q, key, Effort(8192))
        found = defend(q, view.pilot, own, view.scouts, (), numpy_generator(key), 8192)
    assert abs(found.log_evidence.value - case.log_evidence) < 4 * found.log_evidence.standard_error
    reference, error = kl_of(case, q)
    assert abs(found.kl.value - reference) < 4 * np.hypot(error, found.kl.standard_error)


@pytest.mark.parametrize("slope", exhaustive_after(1, [0.0, 0.5]))
def test_an_improper_posterior_is_said_to_be_none(slope, key):
    """A density that levels off on one side, or falls as the root of the distance."""

    def density(z):
        return -jnp.log1p(jnp.exp(-z[0])) - slope * jnp.log1p(jnp.abs(z[0])) - 0.5 * z[1] ** 2

    c = check(full_rank(Target.from_log_density(density, 2), [3.0, 0.0], np.eye(2)), key=key)
    assert c.label == "unknown"
    assert c.improper == ("z[0]",)
    assert "may be improper" in c.verdict
    assert "at least" not in c.verdict
    assert c.limits.lower == 0.0
    assert "prior" in c.try_next[0]


@pytest.mark.parametrize(("power", "improper"), [(1.0, True), (1.2, False)])
def test_on_the_line_one_over_the_distance_has_no_integral(power, improper, key):
    target = Target.from_log_density(lambda z: -0.5 * power * jnp.log1p(z[0] ** 2), 1)
    assert check(full_rank(target, [0.0], np.eye(1)), key=key).improper == (("z[0]",) if improper else ())


@pytest.mark.parametrize("name", ["cauchy", "beta"])
def test_heavy_tails_that_have_an_integral_are_not_called_improper(name, key):
    densities = {
        "cauchy": lambda z: -jnp.log1p(z[0] ** 2) - jnp.log1p(z[1] ** 2),
        "beta": lambda z: -0.1 * jnp.sum(jnp.abs(z)),
    }
    c = check(full_rank(Target.from_log_density(densities[name], 2), [0.0, 0.0], np.eye(2)), key=key)
    assert c.improper == ()


def extreme():
    numpyro.sample("p", dist.Beta(0.01, 0.01))


def test_a_transform_that_saturates_under_q_is_named(key):
    """Logits of a Beta(.01, .01) go to hundreds, and float64's sigmoid is 1 from 37 on."""
    target = Target.from_numpyro(extreme)
    c = check(normal_on_line(target, 0.0, 20.0), key=key)
    share = stats.norm.sf(36.5 / 20)
    assert [s.site for s in c.saturated] == ["p"]
    assert c.saturated[0].value == pytest.approx(1.0)
    assert c.saturated[0].share == pytest.approx(share, rel=0.2)
    assert c.label == "unknown"
    assert "float64 cannot tell" in c.verdict
    assert check(normal_on_line(target, 0.0, 2.0), key=key).saturated == ()


def test_what_piles_up_at_an_end_is_told_from_what_is_constant():
    rng = np.random.default_rng(0)
    values = rng.random(1000)
    assert largest_share_at_end(values, 0.5)[0] == 0
    assert largest_share_at_end(np.ones(1000), 1.0)[0] == 0  # a Cholesky factor's first entry
    assert largest_share_at_end(np.ones(1000), 0.5) == (1.0, 1.0)
    assert largest_share_at_end(np.where(values > 0.9, 1.0, values), 0.5) == pytest.approx((0.1, 1.0), abs=0.03)
    assert largest_share_at_end(np.where(values > 0.999, np.inf, values), 0.5)[1] == np.inf


def test_quadrature_is_tried_before_anything_is_unknown(key, monkeypatch):
    """Two dimensions, where weights are made to fail."""
    from vi_kl.diagnostics import defence

    monkeypatch.setattr(defence, "FEWEST_COUNTING", np.inf)
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)
    c = check(full_rank(target, [0.5, 0.0], np.eye(2)), key=key)
    assert c.source == "quadrature"
    assert c.reverse_kl.value == pytest.approx(0.125, abs=1e-4)


def test_draws_are_allotted_without_remainder():
    counts = allotted(1001, [6.0, 4.0, 2.0, 6.0])
    assert counts.sum() == 1001
    np.testing.assert_allclose(counts / 1001, np.array([6, 4, 2, 6]) / 18, atol=1e-3)


def test_advice_knows_the_family_and_the_dimension(key):
    """Nobody is sent from a flow to a flow, or in one dimension to one."""
    line = check(normal_on_line(Target.from_log_density(lambda z: -2 * jnp.log1p(z[0] ** 2), 1), 0.0, 0.3), key=key)
    words = " ".join(line.try_next)
    assert "flow" not in words
    assert "full_rank" not in words
    assert "non-centred" not in words
    assert "skewed" in words


@pytest.mark.landing
def test_status_and_certificate_say_the_same(key):
    """README's bioassay by its best normal: the ladder's figure, the certificate's, and quadrature's agree."""

    def bioassay(dose, animals, deaths):
        alpha = numpyro.sample("alpha", dist.Normal(0, 10))
        beta = numpyro.sample("beta", dist.Normal(0, 10))
        with numpyro.plate("groups", len(dose)):
            numpyro.sample("deaths", dist.Binomial(animals, logits=alpha + beta * dose), obs=deaths)

    from vi_kl.diagnostics.judgement import judge

    data = np.array([-0.86, -0.30, -0.05, 0.73]), np.array([5, 5, 5, 5]), np.array([0, 1, 3, 5])
    target = Target.from_numpyro(bioassay, *data)
    fit = vi_kl.fit(target, "full_rank", key=key)
    with jax.enable_x64(True):
        status = judge(fit.approximation, key, 8192).kl
    certificate = check(fit, key=key)
    exact = check(fit, vi_kl.reference.reference_by_quadrature, key=key).reverse_kl
    assert certificate.k_hat > 0.7  # q's own weights cannot tell
    for kl in (status, certificate.reverse_kl):
        assert abs(kl.value - exact.value) < 4 * kl.standard_error < 0.1 * exact.value


def weighted(log_p, log_q, log_r):
    n = len(log_p)
    return Weighted(np.zeros((n, 1)), log_p, log_r, np.arange(n) % 2, log_q)


def test_arithmetic_that_fails_in_the_tails_of_q_is_not_an_infinite_divergence():
    """A Cholesky factor, say, that is not finite where q has next to no mass."""
    z = np.random.default_rng(0).normal(size=4000) * np.repeat([1.0, 3.0], 2000)
    log_q, wide = stats.norm.logpdf(z), stats.norm.logpdf(z, scale=3.0)
    log_r = np.logaddexp(log_q, wide) - np.log(2)
    whole = weigh(weighted(log_q, log_q, log_r))
    broken = weigh(weighted(np.where(np.abs(z) > 7, -np.inf, log_q), log_q, log_r))
    assert (np.abs(z) > 7).any()
    assert broken.kl.value == pytest.approx(whole.kl.value, abs=1e-8)
    cut = weigh(weighted(np.where(z > 2.5, -np.inf, log_q), log_q, log_r))  # where q has mass
    assert cut.kl.value == np.inf


def test_one_draw_with_all_the_weight_says_nothing():
    """The log density of a hierarchy of betas is 1e7 and more where its concentration is 1e20."""
    z = np.random.default_rng(0).normal(size=4000)
    log_q = stats.norm.logpdf(z)
    log_p = log_q.copy()
    log_p[7] = 4e7
    assert not weigh(weighted(log_p, log_q, log_q)).is_known
