"""Hierarchies, whose densities are highest where there is no mass: what is found, against formulas and quadrature.

The models, what is known of each and the larger measurements are in tests/benchmarks/measure_hierarchies.py.
"""

import jax
import numpy as np
import pytest
from benchmarks.measure_hierarchies import MODELS, best_mean_field, data, exact, measure
from tiers import exhaustive_after

import vi_kl
from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.initialization import initialize
from vi_kl.algorithms.natural_steps import elbo_at
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.families import MeanField
from vi_kl.families.frame import Frame
from vi_kl.models.textbook import eight_schools_centred
from vi_kl.objectives.noise import matched_noise
from vi_kl.targets import Target


def elbo_of_start(kind, strength, groups, seed):
    x = data(kind, strength, groups, seed)
    target = Target.from_numpyro(MODELS[kind], x)
    with jax.enable_x64(True):
        frame = initialize(target, jax.random.key(seed), CostCounter()).frame
        noise = matched_noise(np.random.default_rng(0), 1024, target.dim)
        seen = elbo_at(target, frame.normal, noise, CostCounter())
    return seen.elbo, x


@pytest.mark.parametrize(
    ("kind", "strength"),
    exhaustive_after(1, [("centred", "weak"), ("precision", "strong"), ("non_centred", "strong")]),
)
def test_fits_begin_where_the_mass_is(kind, strength):
    """Within two nats of the evidence, which no normal far out in a funnel's neck is; climbs of these have no top."""
    for seed in range(3):
        elbo, x = elbo_of_start(kind, strength, 8, seed)
        assert exact(kind, x)[0] - 2.0 < elbo < exact(kind, x)[0] + 0.1


def test_the_mode_of_forty_groups_holds_nothing():
    """It is at log_tau = 20, twenty sds of the prior from the mass."""
    elbo, x = elbo_of_start("precision", "strong", 40, 0)
    assert exact("precision", x)[0] - 2.0 < elbo


@pytest.mark.parametrize("seed", exhaustive_after(1, [2, 18]))
def test_eight_schools_centred_breaks_nothing(seed):
    """Its density rises for ever towards tau = 0: the trust region of these keys' climbs overflowed."""
    fit = vi_kl.fit(eight_schools_centred(), "mean_field", key=jax.random.key(seed))
    z = np.asarray(fit.approximation.sample_and_log_prob(jax.random.key(0), 1000)[0])
    assert np.isfinite(z).all()
    assert np.abs(z).max() < 100


@pytest.mark.parametrize("kind", ["precision", pytest.param("centred", marks=pytest.mark.exhaustive)])
def test_mean_field_ends_at_the_best_whatever_it_starts_from(kind):
    """Also in a frame deep in the neck, in whose units nothing seems to move; the oracle's optimum is by formulas."""
    x = data(kind, "strong", 8, 1)
    target = Target.from_numpyro(MODELS[kind], x)
    column = target.coordinate_names.index("log_tau" if kind == "precision" else "tau")
    loc, sd = np.zeros(target.dim), np.full(target.dim, 1e-4)
    loc[column], sd[column] = (12.0, 1.0) if kind == "precision" else (-6.0, 1.0)
    fit = SampleAverageApproximation(MeanField()).fit(jax.random.key(0), target, start=Frame.of(loc, sd))
    z, log_q = fit.approximation.sample_and_log_prob(jax.random.key(1), 4096)
    log_ratio = np.asarray(target.log_density(np.asarray(z))) - np.asarray(log_q)
    noise = log_ratio.std() / np.sqrt(len(log_ratio))
    assert fit.status.converged
    assert abs(log_ratio.mean() - best_mean_field(kind, x)) < 0.05 + 4 * noise


@pytest.mark.exhaustive
@pytest.mark.parametrize("groups", [40, 160])
@pytest.mark.parametrize("kind", list(MODELS))
@pytest.mark.parametrize("strength", ["strong", "weak"])
def test_nothing_is_below_the_best_mean_field(kind, strength, groups):
    for seed in range(3):
        row = measure(kind, strength, groups, seed, "mean_field")
        assert row["above"] > -0.1 - 0.001 * groups


@pytest.mark.exhaustive
def test_the_default_of_hundreds_of_groups_is_no_worse_than_independent_normals():
    row = measure("precision", "strong", 250, 0, "default")
    assert row["above"] > -0.2
