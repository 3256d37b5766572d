"""The density that follows a funnel: it is one, it knows what sets scales, and certificates see the neck by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.known_targets import known, known_hierarchy
from diagnostics.members import full_rank

import vi_kl
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics import check
from vi_kl.diagnostics.evidence import elbo
from vi_kl.diagnostics.funnel import SEEN, find_funnel

CASE = known_hierarchy(groups=8, spread=0.2, seed=0)


@pytest.fixture(scope="module")
def q():
    """A normal that leaves the neck out, where the spread is below a fifth."""
    y, sd = (np.asarray(CASE.target.density.split(CASE.target.data)[0][name]) for name in ("y", "sd"))
    mean = y.mean() + (y - y.mean()) * 0.2 / (0.2 + sd**2)
    return full_rank(CASE.target, np.r_[y.mean(), -0.8, mean], np.diag(np.r_[0.2, 0.1, np.full(8, 0.15)]))


@in_float64
def funnel_around(target, z, budget=40_000):
    return find_funnel(target, z, np.random.default_rng(1), budget)


def draws_around(q, n=500):
    return np.asarray(q.sample_and_log_prob(0, n)[0])


def test_it_is_a_density(q):
    """Its mean ratio to another density is one over that one's draws, and the other way about."""
    funnel, spent = funnel_around(q.target, draws_around(q))
    assert funnel.scales.tolist() == [1]  # the log of the spread
    assert spent <= 40_000
    generator = np.random.default_rng(2)
    z = funnel.sample(generator, 20_000)
    given = funnel.given
    assert np.isfinite(funnel.log_prob(z)).all()
    # its own draws in units of their nodes: independent Student t's with 10 degrees of freedom, variance 10 / 8
    node = funnel.nearest(z[:, [1]])
    u = np.einsum("nij,nj->ni", funnel.inverses[node], np.delete(z, 1, axis=1) - given.means[node])
    assert abs(np.mean(u**2) - 1.25) < 0.02
    # the same conditionals, drawn as normals 1.2 times as wide
    scales = funnel.over.sample(generator, 40_000)
    node = funnel.nearest(scales)
    v = 1.2 * generator.standard_normal((len(node), 9))
    others = given.means[node] + np.einsum("nij,nj->ni", given.factors[node], v)
    log_normal = -0.5 * np.sum((v / 1.2) ** 2, axis=1) - 4.5 * np.log(2 * np.pi * 1.44) - funnel.log_dets[node]
    log_ratio = funnel.log_prob(np.insert(others, [1], scales, axis=1)) - funnel.over.log_prob(scales) - log_normal
    ratio = np.exp(log_ratio)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))


def test_the_conditionals_of_a_hierarchy_are_its_algebra(q):
    """Given the spread, the mean and the groups' numbers are jointly normal."""
    funnel, _ = funnel_around(q.target, draws_around(q))
    data = q.target.density.split(q.target.data)[0]
    y, sd = np.asarray(data["y"]), np.asarray(data["sd"])
    for i in range(0, len(funnel.given.nodes), 60):
        tau = np.exp(funnel.given.nodes[i, 0])
        if not 1e-3 < tau < 1e3:
            continue
        precision = np.diag(np.r_[1 / 25 + 8 / tau**2, 1 / sd**2 + 1 / tau**2])
        precision[0, 1:] = precision[1:, 0] = -1 / tau**2
        covariance = np.linalg.inv(precision)
        factor = funnel.given.factors[i]
        np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-3, atol=1e-4 * np.diag(covariance).min())
        np.testing.assert_allclose(funnel.given.means[i], covariance @ np.r_[0, y / sd**2], rtol=1e-3, atol=1e-3)


@pytest.mark.landing
def test_certificates_count_the_neck(q, key):
    """The neck holds a good part of the mass, and hardly a draw of q falls into it."""
    found = elbo(q, jax.random.key(5), 400_000)
    reference = CASE.log_evidence - found.value
    c = check(q, key=key)
    assert c.label == "estimated"
    assert abs(c.reverse_kl.value - reference) < 4 * c.reverse_kl.standard_error
    assert c.reverse_kl.standard_error < 0.02 * reference
    assert c.gradient_evaluations < 10_000  # a run of NUTS takes forty thousand and more
    assert c.limits.lower < reference


def test_where_nothing_sets_scales_there_is_no_funnel():
    for kind, constants in {"logistic": {}, "skewed": {"skew": np.linspace(-0.5, 0.5, 5), "tail": np.ones(5)}}.items():
        target = known(kind, 5, 0, kind, **constants).target
        z = np.random.default_rng(0).standard_normal((500, 5)) + np.asarray(target.density.split(target.data)[0]["loc"])
        funnel, spent = funnel_around(target, z)
        assert funnel is None
        assert spent == 2 * SEEN * 5
    assert funnel_around(CASE.target, np.random.default_rng(0).standard_normal((500, 10)), budget=500) == (None, 0)


@in_float64
def test_where_the_density_is_concave_nowhere_there_is_no_funnel():
    """A scale sets how steeply the density rises on both sides: no node has a conditional normal."""
    target = vi_kl.Target.from_log_density(lambda z: -0.5 * z[0] ** 2 + jnp.exp(z[0]) * z[1] ** 2, 2)
    z = np.random.default_rng(0).normal(size=(512, 2))
    funnel, spent = find_funnel(target, z, np.random.default_rng(1), 10_000)
    assert funnel is None
    assert spent > 1000  # it has looked
