"""Models of the same data against closed forms: evidences, leave-one-out predictions, and what is refused."""

import dataclasses
import json

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.stats import multivariate_normal, norm

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.targets import Target
from vi_kl.workflows.compare_models import compare_models

ROWS = 30
generator = np.random.default_rng(0)
X = generator.normal(size=(ROWS, 2))
Y = X[:, 0] + generator.normal(size=ROWS)


def regression(x, y, where=0.0):
    """A linear regression with noise of sd 1: the data are jointly normal."""
    slopes = numpyro.sample("slopes", dist.Normal(where, 1).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ slopes, 1.0), obs=y)


def flat(x, y):
    slope = numpyro.sample("slope", dist.ImproperUniform(dist.constraints.real, (), ()))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x[:, 0] * slope, 1.0), obs=y)


def covariance(x):
    return np.eye(ROWS) + x @ x.T


def exact_loo(x):
    """The log predictive density of each observation given all others, from the inverse of the joint covariance."""
    precision = np.linalg.inv(covariance(x))
    variance = 1 / np.diag(precision)
    return norm(Y - variance * (precision @ Y), np.sqrt(variance)).logpdf(Y)


@pytest.fixture(scope="module")
def compared():
    models = {"one": X[:, :1], "both": X, "wrong": X[:, 1:]}
    targets = {name: Target.from_numpyro(regression, x, Y) for name, x in models.items()}
    fits = {name: vi_kl.fit(target, "laplace", key=0) for name, target in targets.items()}
    return compare_models(fits, key=1), models


def test_evidences_and_bayes_factors_are_those_of_the_closed_form(compared):
    found, models = compared
    exact = {name: multivariate_normal(np.zeros(ROWS), covariance(x)).logpdf(Y) for name, x in models.items()}
    for name, evidence in zip(found.names, found.log_evidences, strict=True):
        assert evidence.value == pytest.approx(exact[name], abs=5 * evidence.standard_error + 1e-6)
    factor = found.log_bayes_factor("one", "wrong")
    assert factor.value == pytest.approx(exact["one"] - exact["wrong"], abs=5 * factor.standard_error + 1e-6)
    assert found.best == "one"
    assert "The evidence for one over both is positive" in found.recommendation
    assert list(found.to_dataframe().index) == ["one", "both", "wrong"]


def test_leave_one_out_is_that_of_the_closed_form(compared):
    pytest.importorskip("arviz_stats")
    found, models = compared
    exact = {name: exact_loo(x) for name, x in models.items()}
    for name, loo in zip(found.names, found.loo, strict=True):
        assert loo.value == pytest.approx(exact[name].sum(), abs=0.2)  # by 4,000 weighted draws
        assert loo.standard_error == pytest.approx(np.sqrt(ROWS) * exact[name].std(ddof=1), rel=0.1)
    gap = found.loo_behind[found.place("wrong")]
    difference = exact["one"] - exact["wrong"]
    assert gap.value == pytest.approx(difference.sum(), abs=0.2)
    assert gap.standard_error == pytest.approx(np.sqrt(ROWS) * difference.std(ddof=1), rel=0.1)
    assert "one predicts left-out observations better than" in found.recommendation


def test_a_prior_against_the_data_is_named(capfd, caplog):
    pytest.importorskip("arviz_stats")
    short = X[:4], Y[:4]
    targets = {"far": Target.from_numpyro(regression, *short, 6.0), "near": Target.from_numpyro(regression, *short)}
    found = compare_models(targets, key=0, method="laplace")
    assert any("prior" in words for words in found.sensitive[0])
    assert "In far," in found.recommendation
    assert not capfd.readouterr().out
    assert not caplog.records


def test_other_data_and_too_few_models_are_refused():
    targets = {"y": Target.from_numpyro(regression, X, Y), "other": Target.from_numpyro(regression, X, 2 * Y)}
    with pytest.raises(ValueError, match="'y' and 'other' do not observe the same data"):
        compare_models(targets, key=0)
    with pytest.raises(ValueError, match="two or more models, got 1"):
        compare_models({"y": targets["y"]}, key=0)
    with pytest.raises(TypeError, match="The model 'f' must be a Target or a Fit, not function"):
        compare_models({"y": targets["y"], "f": regression}, key=0)


def test_an_improper_prior_has_no_evidence():
    targets = {"flat": Target.from_numpyro(flat, X, Y), "proper": Target.from_numpyro(regression, X, Y)}
    found = compare_models(targets, key=0, method="laplace", loo=False)
    assert found.log_evidences[0] is None
    assert "the prior of slope has no mass to average over" in found.without_evidence["flat"]
    with pytest.raises(ValueError, match="The evidence of 'flat' means nothing"):
        found.log_bayes_factor("proper", "flat")
    assert "compares none" in found.recommendation


def test_an_unknown_evidence_leaves_limits(compared):
    found, _ = compared
    unknown = dataclasses.replace(found.certificates[1], log_evidence=None, evidence_limits=Limits(-60.0, -50.0, 0.95))
    changed = dataclasses.replace(found, certificates=(found.certificates[0], unknown, found.certificates[2]))
    limits = changed.log_bayes_factor("one", "both")
    assert isinstance(limits, Limits)
    assert limits.upper == pytest.approx(found.certificates[0].evidence_limits.upper + 60.0)
    assert json.dumps(changed.to_dict(), allow_nan=False)
    assert isinstance(changed.log_bayes_factor("one", "wrong"), Estimate)
