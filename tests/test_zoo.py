"""The models of tests/benchmarks/zoo/ can be fitted, and those that sum out or solve something do it right."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.measure_hierarchies import exact
from benchmarks.zoo import ZOO
from benchmarks.zoo.large import hierarchy_data, hierarchy_known
from benchmarks.zoo.page import publish
from benchmarks.zoo.rows import append, figures, read, shown
from numpyro.infer.util import log_density
from scipy.integrate import solve_ivp
from tiers import exhaustive_after

from vi_kl.models.textbook.series import hidden_markov_model, runge_kutta

CHEAP = ("eight_schools_centred", "laplace_product")


@pytest.mark.parametrize("name", exhaustive_after(len(CHEAP), sorted(ZOO, key=lambda name: name not in CHEAP)))
def test_a_model_has_a_finite_density_at_a_start(name, key):
    target = ZOO[name].target()
    assert target.dim == ZOO[name].dim
    assert np.isfinite(target.log_density(target.initial_position(key)))


def test_the_zoo_has_twenty_models_and_says_of_each_what_is_hard():
    assert len(ZOO) == 20
    for case in ZOO.values():
        assert case.hard.endswith(".")
        assert ": " in case.hard
        again = case.data()
        assert all(np.array_equal(a, b) for a, b in zip(case.data(), again, strict=True)), case.name


@pytest.mark.exhaustive
def test_hidden_states_are_summed_out():
    """Against the sum over all 3^4 sequences of states after those that are seen."""
    generator = np.random.default_rng(0)
    transition, emission = generator.dirichlet(np.ones(3), 3), generator.dirichlet(np.ones(4), 3)
    seen, words, unlabelled = np.array([0, 2]), np.array([1, 1]), np.array([3, 0, 2, 1])
    with jax.enable_x64(True):
        values = {"transition": jnp.asarray(transition), "emission": jnp.asarray(emission)}
        found, trace = log_density(hidden_markov_model, (seen, words, unlabelled, 4), {}, values)
        labelled = sum(
            jnp.sum(trace[name]["fn"].log_prob(trace[name]["value"]))
            for name in ("transition", "emission", "words", "states_seen")
        )
        total = 0.0
        for states in itertools.product(range(3), repeat=len(unlabelled)):
            before = (seen[-1], *states[:-1])
            total += np.prod(
                [transition[a, b] * emission[b, w] for a, b, w in zip(before, states, unlabelled, strict=True)]
            )
        np.testing.assert_allclose(found - labelled, np.log(total), rtol=1e-12)


@pytest.mark.exhaustive
def test_the_differential_equation_is_solved():
    """Against SciPy's adaptive method, to a hundredth of the noise in the data and far below."""
    rates, first, years = np.array([0.55, 0.028, 0.8, 0.024]), np.array([33.0, 6.0]), 21

    def slope(_, x):
        return [(rates[0] - rates[1] * x[1]) * x[0], (rates[3] * x[0] - rates[2]) * x[1]]

    truth = solve_ivp(slope, (0, years - 1), first, t_eval=np.arange(years), rtol=1e-10, atol=1e-10).y.T
    with jax.enable_x64(True):
        found = runge_kutta(jnp.asarray(rates), jnp.asarray(first), years)
    np.testing.assert_allclose(found, truth, rtol=1e-4)


def test_what_is_known_of_large_hierarchies():
    """Against the quadrature of measure_hierarchies.py, whose grid is fine enough for few groups."""
    (x,) = hierarchy_data(60)
    found = hierarchy_known(60)
    log_evidence, mean, sd = exact("centred", x)
    np.testing.assert_allclose(found["log_evidence"], log_evidence, atol=1e-6)
    # of log tau, as a lognormal's: skewness is left out, which is of the order of sd^3
    np.testing.assert_allclose(found["tau"][0], np.exp(mean + sd**2 / 2), rtol=sd**3)
    np.testing.assert_allclose(found["tau"][1] / found["tau"][0], sd, rtol=sd)


def test_rows_make_a_table_and_a_page(tmp_path):
    about = {"dim": 5, "seed": 0, "commit": "abc", "date": "2026-01-02", "machine": "Linux", "cores": 2}
    about |= {"model": "mixture", "versions": {"jax": "1.0"}, "status": "Done."}
    errors = {"mean_error": 0.123, "mean_floor": 0.02, "sd_error": 0.034, "sd_floor": 0.01}
    costs = {"gradients": 10_000, "cpu_seconds": 8.0}
    rows = [
        about | {"method": "default", "failed": True, "status": "An older row of the same."},
        about | costs | {"method": "nuts", "gradients": 40_000, "converged": False},
        about
        | costs
        | errors
        | {
            "method": "default",
            "fit_gradients": 9_000,
            "fit_cpu_seconds": 6.0,
            "kl": 0.05,
            "family": "skewed",
            "trace": "secret",
        },
        about | {"method": "autonormal", "failed": True, "status": "No result\nwithin 3 seconds."},
    ]
    for row in rows:
        append(tmp_path / "rows.jsonl", row)
    assert read(tmp_path / "rows.jsonl") == rows
    assert "0.25" in shown(rows)
    # without NUTS' row its costs are what the default's says
    alone = [rows[2] | {"gradients_share": 0.2, "cpu_seconds_share": 0.5}]
    assert figures(alone)[["of NUTS", "of NUTS' CPU"]].to_numpy().tolist() == [[0.2, 0.5]]
    publish(rows, "the command", tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert (
        "| mixture † | 5 | 9,000 | 10,000 | 0.25 | 6.0 | 8.0 | 1.00 | 0.123 (0.020) | 0.034 (0.010) | 0.05 | skewed |"
        in page
    )
    assert "- mixture, autonormal: No result within 3 seconds." in page
    assert "2026-01-02 on Linux with 2 cores, at abc, with jax 1.0" in page
    kept = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [row["method"] for row in kept] == ["default", "nuts", "autonormal"]
    assert "secret" not in str(kept)
