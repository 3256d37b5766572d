"""The posterior database: reading it, and, where there is a copy of it, every port against its reference draws.

A port is right when the reference draws satisfy Stein's identities of its density: E[grad log p] = 0 and
E[(z - c)_i d_j log p] = -(i == j), for every centre c.
"""

import json
import math
import os
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from benchmarks import measure_posteriordb

from vi_kl.core.compilation import compiled
from vi_kl.core.precision import in_float64
from vi_kl.models import posteriordb
from vi_kl.models.posteriordb import PORTS, PosteriordbModel, database
from vi_kl.targets import Target
from vi_kl.targets.target import log_density

pytestmark = pytest.mark.usefixtures("compiled_quickly")
FULL_NAMES = {full_name.rpartition("-")[2]: full_name for full_name in PORTS}
needs_database = pytest.mark.skipif(
    not os.environ.get("POSTERIORDB_PATH"), reason="POSTERIORDB_PATH is not set: no copy of posteriordb"
)


# The database --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_database(tmp_path, monkeypatch):
    """A database of one posterior, the non-centred eight schools with three schools, and two chains of two draws."""
    folder = tmp_path / "posterior_database"
    full_name = FULL_NAMES["eight_schools_noncentered"]
    entry = {"data_name": "schools", "reference_posterior_name": "draws"}
    (folder / "posteriors").mkdir(parents=True)
    (folder / "posteriors" / f"{full_name}.json").write_text(json.dumps(entry), encoding="utf-8")
    chain = {"theta[1]": [1.0, 2.0], "theta[2]": [3.0, 4.0], "theta[3]": [5.0, 6.0]}
    chain |= {"mu": [0.5, 0.0], "tau": [2.0, 4.0]}
    later = {name: [value + 8 for value in values] for name, values in chain.items()}
    zipped(folder / "data" / "data" / "schools.json.zip", {"J": 3, "y": [28, 8, -3], "sigma": [15, 10, 16]})
    zipped(folder / "reference_posteriors" / "draws" / "draws" / "draws.json.zip", [chain, later])
    monkeypatch.setenv(database.VARIABLE, str(tmp_path))
    return folder


def zipped(path: Path, content) -> None:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.stem, json.dumps(content))


def test_posterior_reads_its_data_and_its_reference(small_database):
    posterior = posteriordb.posterior("eight_schools_noncentered")
    assert posterior.target.site_names == ("mu", "tau", "theta_trans")
    assert posterior.num_chains == 2
    np.testing.assert_array_equal(posterior.draws["theta"], [[1, 3, 5], [2, 4, 6], [9, 11, 13], [10, 12, 14]])
    np.testing.assert_array_equal(posterior.draws["tau"], [2, 4, 10, 12])
    z = posterior.reference_z()
    np.testing.assert_allclose(z[0], [0.5, math.log(2), 0.25, 1.25, 2.25], rtol=1e-12)
    quantities = posterior.reference_quantities(posterior.target.constrain(z))
    assert list(quantities) == ["theta", "mu", "tau"]
    np.testing.assert_allclose(quantities["theta"], posterior.draws["theta"], rtol=1e-12)


def test_indices_of_matrices_are_read():
    chains = [{"a[1,1]": [1], "a[1,2]": [2], "a[2,1]": [3], "a[2,2]": [4]}]
    np.testing.assert_array_equal(database.gather(chains)["a"], [[[1, 2], [3, 4]]])


def test_names_are_those_of_the_26_posteriors():
    assert len(posteriordb.names()) == len(set(posteriordb.names())) == 26
    assert {"garch11", "eight_schools_centered", "gp_pois_regr", "hmm_example"} < set(posteriordb.names())


def test_errors_say_what_to_do(small_database, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"No posterior 'garch': choose one of arK, .*garch11"):
        posteriordb.posterior("garch")
    with pytest.raises(FileNotFoundError, match=r"has no 'garch-garch11'.*does not exist.*POSTERIORDB_PATH"):
        posteriordb.posterior("garch11")
    without_reference = {"data_name": "schools", "reference_posterior_name": None}
    entry = small_database / "posteriors" / "eight_schools-eight_schools_noncentered.json"
    entry.write_text(json.dumps(without_reference), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"no reference draws of 'eight_schools-eight_schools_noncentered'"):
        _ = posteriordb.posterior("eight_schools_noncentered").draws
    monkeypatch.setenv(database.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"there is no `posterior_database`.*Stan developers' database"):
        posteriordb.posterior("garch11")
    monkeypatch.delenv(database.VARIABLE)
    with pytest.raises(FileNotFoundError, match=r"POSTERIORDB_PATH is not set\. posteriordb is the Stan developers'"):
        posteriordb.posterior("garch11")


# Reference draws -----------------------------------------------------------------------------------------------

THINNED = 2  # every other one of the 10,000 draws
BATCHES = 40  # of 125 draws, four in each chain
STANDARD_ERRORS = 5


@compiled(unoptimized=True)
def gradients(target, z):
    return jax.vmap(jax.grad(log_density, argnums=1), in_axes=(None, 0))(target, z)


def in_standard_errors(values, truth):
    """How far the mean of correlated draws is from the truth, in standard errors by batch means."""
    means = values.reshape(BATCHES, -1, *values.shape[1:]).mean(axis=1)
    return np.abs(means.mean(axis=0) - truth) / (means.std(axis=0, ddof=1) / math.sqrt(BATCHES))


def worst_violations(target: Target, z) -> tuple[float, float, float]:
    """Of E[grad] = 0 and E[(z - c)_i d_i] = -1, and of E[(z - c)_i d_j] = -(i == j) in whitened coordinates.

    Whitened, the draws tell strongly correlated coordinates apart, where the plain identities are all noise.
    """
    gradient = np.asarray(in_float64(gradients)(target, z))
    centred, tril = z - z.mean(axis=0), np.linalg.cholesky(np.cov(z, rowvar=False))
    white, white_gradient = np.linalg.solve(tril, centred.T).T, gradient @ tril
    products = white[:, :, None] * white_gradient[:, None, :]
    return (
        in_standard_errors(gradient, 0).max(),
        in_standard_errors(centred * gradient, -1).max(),
        in_standard_errors(products, -np.eye(target.dim)).max(),
    )


@needs_database
@pytest.mark.parametrize("name", posteriordb.names())
def test_reference_draws_are_of_the_port(name):
    posterior = posteriordb.posterior(name)
    z = posterior.reference_z()
    assert z.shape == (10_000, posterior.target.dim)
    assert max(worst_violations(posterior.target, z[::THINNED])) < STANDARD_ERRORS
    sites = posterior.port.sites(posterior.draws, *posterior.arguments)
    for quantity, values in posterior.reference_quantities(sites).items():  # the kernel's condition number is 1e10
        np.testing.assert_allclose(values, posterior.draws[quantity], rtol=1e-6, atol=1e-6, err_msg=quantity)


def uniform_instead_of_flat(sites):
    """Uniform(0, 1 - alpha1) for beta1 has the density 1 / (1 - alpha1), which is not flat."""
    return -jnp.log1p(-sites["alpha1"]["value"])


def half_normal_instead_of_half_cauchy(sites):
    tau = sites["tau"]["value"]
    return dist.HalfNormal(5).log_prob(tau) - dist.HalfCauchy(5).log_prob(tau)


@needs_database
@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("garch11", uniform_instead_of_flat),
        ("eight_schools_noncentered", half_normal_instead_of_half_cauchy),
    ],
)
def test_a_wrong_port_is_noticed(name, mistake):
    posterior = posteriordb.posterior(name)

    def wrong(*arguments):
        with numpyro.handlers.trace() as sites:
            posterior.port.model(*arguments)
        numpyro.factor("mistake", mistake(sites))

    target = PosteriordbModel(wrong, posterior.port.arguments).target(posterior.data)
    assert max(worst_violations(target, posterior.reference_z()[::THINNED])) > STANDARD_ERRORS


# The benchmark -------------------------------------------------------------------------------------------------


def test_errors_are_in_reference_sds():
    reference = np.random.default_rng(4).normal(size=(10_000, 2)) * [1.0, 50.0] + [3.0, -700.0]
    sd = reference.std(axis=0, ddof=1)
    moved = reference.mean(axis=0) + 1.1 * (reference - reference.mean(axis=0)) + [0.3, 0.4] * sd
    found = measure_posteriordb.errors(moved, reference)
    assert found["mean"] == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 2))
    assert found["sd"] == pytest.approx(0.1)


def test_floors_are_the_errors_of_independent_draws():
    reference = np.random.default_rng(5).normal(size=(10_000, 50)) * 7
    found = measure_posteriordb.floors(reference, num_chains=10)
    # 1/sqrt(n) and 1/sqrt(2 n); the effective sample sizes are estimated to some 5%
    assert found["mean_floor"] == pytest.approx(0.01, rel=0.03)
    assert found["sd_floor"] == pytest.approx(0.01 / math.sqrt(2), rel=0.03)


def test_a_failed_fit_is_a_row_that_counts_against_its_method(small_database):
    rows = [measure_posteriordb.row("eight_schools_noncentered", "moment_matching", seed=0, num_draws=10)]
    assert rows[0]["status"].startswith("FitError: Moment matching needs draws")
    good = {name: 0.01 for name in measure_posteriordb.FIGURES} | {"method": "moment_matching", "posterior": "other"}
    poor = good | {"posterior": "third", "sd": 0.06}
    medians = measure_posteriordb.summary(pd.DataFrame([*rows, good, poor])).loc["moment_matching"]
    assert (medians["accurate"], medians["failed"], medians["posteriors"]) == (1, 1, 3)
    assert medians["mean"] == 0.01
    assert medians["sd"] == 0.06
