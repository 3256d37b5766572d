"""Encoders beside the best q of each row: a linear-Gaussian model, of which every gap has a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import stats

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.core.errors import ModelError, UnsuitableError
from vi_kl.families import Approximation, Guide
from vi_kl.objectives import ELBO
from vi_kl.targets import Target
from vi_kl.workflows.amortisation import amortisation_gap, elbo_by_row, encode, evidence_by_row

ROWS, WIDTH, LATENT = 40, 4, 2
RNG = np.random.default_rng(0)
WEIGHTS = np.array([[2.0, 0.5], [-1.0, 1.0], [0.3, 1.5], [0.8, 0.0]])
NOISE = 0.9
X = RNG.normal(size=(ROWS, LATENT)) @ WEIGHTS.T + NOISE * RNG.normal(size=(ROWS, WIDTH))
# the posterior of a row
PRECISION = np.eye(LATENT) + WEIGHTS.T @ WEIGHTS / NOISE**2
GAIN = np.linalg.solve(PRECISION, WEIGHTS.T).T / NOISE**2


def decoder(x, batch=8):
    weights = numpyro.param("weights", 0.1 * jax.random.normal(jax.random.key(3), (x.shape[1], LATENT)))
    noise = numpyro.param("noise", 1.0, constraint=constraints.positive)
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=1)
        z = numpyro.sample("z", dist.Normal(0, 1).expand([LATENT]).to_event(1))
        numpyro.sample("x", dist.Normal(z @ weights.T, noise).to_event(1), obs=rows)


def encoder(x, batch=8):
    gain = numpyro.param("gain", jnp.zeros((x.shape[1], LATENT)))
    log_sd = numpyro.param("log_sd", jnp.zeros(LATENT))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=1)
        numpyro.sample("z", dist.Normal(rows @ gain, jnp.exp(log_sd)).to_event(1))


PARAMS = {"gain": 0.8 * GAIN, "log_sd": np.log([0.4, 0.9])}


@pytest.fixture(scope="module")
def encoded():
    """An encoder that is not the best one, at given parameters of the model."""
    target = Target.from_numpyro(decoder, X).with_learned({"weights": WEIGHTS, "noise": NOISE})
    return Approximation(Guide(encoder).captured(target), PARAMS, target)


def evidence_of_rows(x):
    return stats.multivariate_normal.logpdf(x, np.zeros(WIDTH), WEIGHTS @ WEIGHTS.T + NOISE**2 * np.eye(WIDTH))


def kl_to_posterior(mean, sd, x):
    """KL of independent normals to the posterior of each row."""
    off = mean - x @ GAIN
    quadratic = np.einsum("ni,ij,nj->n", off, PRECISION, off)
    trace = np.sum(np.diag(PRECISION) * sd**2)
    return 0.5 * (trace + quadratic - LATENT - np.linalg.slogdet(PRECISION)[1] - 2 * np.log(sd).sum())


def test_the_elbo_of_each_row(encoded, key):
    means, errors = elbo_by_row(encoded, key=key, num_draws=64)
    expected = evidence_of_rows(X) - kl_to_posterior(X @ PARAMS["gain"], np.exp(PARAMS["log_sd"]), X)
    assert means.shape == errors.shape == (ROWS,)
    # standard errors of 64 draws are themselves uncertain
    assert np.abs((means - expected) / errors).max() < 5
    assert abs((means.sum() - expected.sum()) / np.sqrt(np.sum(errors**2))) < 4
    assert len(np.unique(means)) == ROWS


@pytest.mark.exhaustive
def test_the_evidence_of_each_row(encoded, key):
    """Of an encoder that is too narrow and beside the mark, whose own weights would be of no use."""
    off = Approximation(encoded.family, {"gain": 0.5 * GAIN, "log_sd": np.log([0.15, 0.3])}, encoded.target)
    found = evidence_by_row(off, key=key, num_draws=500)
    expected = evidence_of_rows(X)
    assert found.log_evidence.shape == (ROWS,)
    assert np.abs((found.log_evidence - expected) / found.standard_errors).max() < 5
    assert abs(found.total.value - expected.sum()) < 4 * found.total.standard_error
    assert found.total.standard_error < 1.5
    assert expected.sum() - 20 < found.limits.lower < expected.sum()
    assert found.limits.upper == np.inf
    assert found.unreliable < 4
    assert "40 rows" in str(found)
    assert found.to_dict()["total"]["value"] == found.total.value
    with pytest.raises(ValueError, match="num_draws"):
        evidence_by_row(off, key=key, num_draws=10)


def test_the_gaps_of_chosen_rows(encoded, key):
    found = amortisation_gap(encoded, [3, 17], key=key)
    chosen = X[[3, 17]]
    # the best independent normals have the mean of the posterior, and the inverse diagonal of its precision
    family = kl_to_posterior(chosen @ GAIN, np.diag(PRECISION) ** -0.5, chosen)
    lost = kl_to_posterior(chosen @ PARAMS["gain"], np.exp(PARAMS["log_sd"]), chosen) - family
    assert found.method == "mean_field"
    for gap, x, approximation, amortisation in zip(found.rows, chosen, family, lost, strict=True):
        for estimate, exact in [
            (gap.log_evidence, evidence_of_rows(x)),
            (gap.approximation_gap, approximation),
            (gap.amortisation_gap, amortisation),
            (gap.best, evidence_of_rows(x) - approximation),
            (gap.encoded, evidence_of_rows(x) - approximation - amortisation),
        ]:
            assert abs(estimate.value - exact) < 5 * estimate.standard_error + 1e-3
        assert gap.evidence_limits.lower <= evidence_of_rows(x) <= gap.evidence_limits.upper
    np.testing.assert_allclose(found.amortisation_gap.value, lost.mean(), atol=0.05)
    assert "A larger encoder" in found.verdict
    assert "other 38 rows" in found.cannot_see
    assert "the model's parameters" in found.cannot_see
    assert found.to_dict()["rows"][0]["row"] == 3
    assert list(found.to_dataframe().index) == [3, 17]
    assert "approximation gap" in found._repr_html_()


def test_new_rows_are_encoded(encoded, key):
    new = np.array([[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.0, 0.0]])
    q = encode(encoded, new, batch=None)
    z = q.sample(key, 20_000)["z"]
    sd = np.exp(PARAMS["log_sd"])
    np.testing.assert_allclose(z.mean(axis=0), new @ PARAMS["gain"], atol=5 * sd.max() / np.sqrt(20_000))
    np.testing.assert_allclose(z.std(axis=0), np.tile(sd, (3, 1)), rtol=0.03)
    np.testing.assert_allclose(q.target.learned["weights"], WEIGHTS)
    # its target is their posterior
    expected = evidence_of_rows(new).sum() - kl_to_posterior(new @ PARAMS["gain"], sd, new).sum()
    certificate = vi_kl.check(q, key=key, num_draws=4000)
    assert abs(certificate.elbo.value - expected) < 5 * certificate.elbo.standard_error


@pytest.mark.parametrize("batch", [None, 1])
def test_new_rows_are_told_apart_where_they_are_too_few_for_minibatches(encoded, batch):
    """All at once, one by one, and a single one, whose plate cannot subsample."""
    expected, _ = elbo_by_row(encoded, key=0)
    for rows in (3, 1):
        found, _ = elbo_by_row(encode(encoded, X[:rows], batch=batch), key=0)
        np.testing.assert_allclose(found, expected[:rows], rtol=1e-9)


def wide_and_narrow(x, batch=2):
    """Two modes of each row's z: a tall one near -1, with next to no mass, and a wide one of the right half."""
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.sample("x", dist.Normal(jnp.where(z > 0, 0.3, -3.0 * (z + 1.0)), 0.1), obs=rows)


def on_the_wide_one(x, batch=2):
    loc = numpyro.param("loc", jnp.array(1.0))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=0)
        numpyro.sample("z", dist.Normal(loc + 0 * rows, 0.25))


def test_the_best_q_of_a_row_is_not_worse_than_the_encoders(key):
    target = Target.from_numpyro(wide_and_narrow, np.array([0.14, 0.15, 0.16]))
    own = Approximation(Guide(on_the_wide_one).captured(target), {"loc": np.array(1.0)}, target)
    (gap,) = amortisation_gap(own, [1], key=key, num_draws=500).rows
    assert gap.amortisation_gap.value > -4 * gap.amortisation_gap.standard_error


def with_shared_mean(x, batch=8):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    with numpyro.plate("rows", len(x), subsample_size=batch):
        rows = numpyro.subsample(x, event_dim=1)
        z = numpyro.sample("z", dist.Normal(loc, 1).expand([LATENT]).to_event(1))
        numpyro.sample("x", dist.Normal(z @ WEIGHTS.T, 1).to_event(1), obs=rows)


def one_of_each_row(x, batch=8):
    """It has a parameter for each row, and so no q for new ones."""
    with numpyro.plate("rows", len(x), subsample_size=batch):
        loc = numpyro.param("loc", jnp.zeros((len(x), LATENT)), event_dim=1)
        numpyro.sample("z", dist.Normal(loc, 1).to_event(1))


def test_what_is_no_encoder_is_refused(encoded):
    target = encoded.target
    shared = Target.from_numpyro(with_shared_mean, X)
    with pytest.raises(UnsuitableError, match="'loc' is shared by all rows"):
        amortisation_gap(Approximation(Guide(encoder), PARAMS, shared), key=0)
    with pytest.raises(UnsuitableError, match="needs an encoder, a guide"):
        encode(vi_kl.fit(target, "laplace", key=0), X)
    own = Guide(one_of_each_row).captured(target)
    with pytest.raises(UnsuitableError, match="has one for each row"):
        encode(Approximation(own, {"loc": np.zeros((ROWS, LATENT))}, target), X[:5], batch=None)
    with pytest.raises(ValueError, match="some of the 40 rows"):
        amortisation_gap(encoded, [40], key=0)


def test_fewer_rows_than_a_minibatch_has_are_refused_with_the_argument_to_change(encoded):
    """Whether its number is a default, given by name or by place; as many rows as it has are none too few."""
    words = (
        "asks for minibatches of {} rows .*, and there are only 3: pass batch=None for all rows at once, or a number"
    )
    with pytest.raises(ModelError, match=words.format(8)):
        encode(encoded, X[:3])
    with pytest.raises(ModelError, match=words.format(5)):
        encode(encoded, X[:3], batch=5)
    with pytest.raises(ModelError, match=words.format(5)):
        encode(encoded, X[:3], 5)
    assert encode(encoded, X[:8]).target.dim == 8 * LATENT


@pytest.mark.exhaustive
def test_a_linear_autoencoder_reaches_principal_components(key):
    """Its best encoder is the posterior, and its parameters those of largest evidence: Tipping & Bishop (1999)."""
    x = RNG.normal(size=(600, LATENT)) @ WEIGHTS.T + NOISE * RNG.normal(size=(600, WIDTH))
    target = Target.from_numpyro(decoder, x, batch=60)
    fit = vi_kl.fit(target, SVI(Guide(encoder), ELBO(1), step_size=0.02, max_steps=12_000), key=key)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    noise = values[:-LATENT].mean()
    top = vectors[:, -LATENT:]
    best = (top * (values[-LATENT:] - noise)) @ top.T + noise * np.eye(WIDTH)
    weights = fit.learned["weights"]
    found = weights @ weights.T + fit.learned["noise"] ** 2 * np.eye(WIDTH)
    lost = [stats.multivariate_normal.logpdf(x, np.zeros(WIDTH), covariance).sum() for covariance in (best, found)]
    assert 0 <= lost[0] - lost[1] < 1.0  # of 600 rows
    gaps = amortisation_gap(fit, 3, key=key)
    assert gaps.amortisation_gap.value < 0.01
    assert gaps.approximation_gap.value < 0.01
    assert lost[1] - 1.0 - 4 * gaps.elbo.standard_error < gaps.elbo.value < lost[1] + 4 * gaps.elbo.standard_error
