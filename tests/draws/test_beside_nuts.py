"""What a certified fit answers, beside the same answers of Stan's NUTS: the reference draws of three posteriors.

Both are averages over draws, and have to agree within two standard errors of their difference. Over many observations
it is the root mean square of the differences in standard errors that is below two, which one in twenty single ones is
not by chance.
"""

import dataclasses
import functools
import os

import numpy as np
import pytest
from xarray import DataTree

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics import Certificate
from vi_kl.models import posteriordb
from vi_kl.reference import ReferencePosterior

azs = pytest.importorskip("arviz_stats")
pytest.importorskip("arviz_base")
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not os.environ.get("POSTERIORDB_PATH"), reason="no copy of posteriordb"),
    pytest.mark.parametrize("name", ["kidscore_momiq", "logmesquite_logvas", "eight_schools_noncentered"]),
]
DRAWS = 10_000  # as many as the reference draws, which are thinned until they are all but independent
CLOSE = 0.1  # nats of KL(q||posterior), which `vi-kl check --strict` asks for
FEW = 2.0  # standard errors


@dataclasses.dataclass(frozen=True)
class Beside:
    """A fit's tree and that of NUTS, with predictions and log likelihoods; and the fit's certificate."""

    ours: DataTree
    theirs: DataTree
    certificate: Certificate

    @property
    def corrected(self):
        """The options of `loo_approximate_posterior`."""
        return {"log_p": self.ours.sample_stats.lp, "log_q": self.ours.sample_stats.log_q, "pointwise": True}


@functools.cache
def beside(name):
    posterior = posteriordb.posterior(name)
    z = posterior.reference_z().reshape(posterior.num_chains, -1, posterior.target.dim)
    nuts = ReferencePosterior(Estimate(0.0), {}, None, "reference run", chains=z, target=posterior.target)
    fit = vi_kl.fit(posterior.target, key=0)
    certificate = vi_kl.check(fit, key=1)
    return Beside(fit.to_arviz(2, DRAWS), nuts.to_arviz(3, DRAWS), certificate)


def pooled(tree):
    """Return the predictive draws of every observation, (draws, observations)."""
    found = [x.values.reshape(x.sizes["chain"] * x.sizes["draw"], -1) for x in tree.posterior_predictive.values()]
    return np.concatenate(found, axis=1)


def root_mean_square(x):
    return float(np.sqrt(np.mean(np.square(x))))


def test_the_fit_is_certified(name):
    certificate = beside(name).certificate
    assert certificate.label in ("exact", "certified", "estimated")
    assert certificate.reverse_kl.to("nats").value < CLOSE


def test_means_of_predictions(name):
    found = beside(name)
    ours, theirs = pooled(found.ours), pooled(found.theirs)
    assert len(ours) == len(theirs) == DRAWS
    error = np.sqrt(ours.var(axis=0, ddof=1) / len(ours) + theirs.var(axis=0, ddof=1) / len(theirs))
    assert root_mean_square((ours.mean(axis=0) - theirs.mean(axis=0)) / error) < FEW


@pytest.mark.parametrize("tail", [0.05, 0.95])
def test_ends_of_intervals_of_90_percent(name, tail):
    """The share of NUTS's predictions below each end of the fit's interval is 5%, and 95%."""
    found = beside(name)
    ours, theirs = pooled(found.ours), pooled(found.theirs)
    share = (theirs < np.quantile(ours, tail, axis=0)).mean(axis=0)
    error = np.sqrt(tail * (1 - tail) * (1 / len(ours) + 1 / len(theirs)))
    assert root_mean_square((share - tail) / error) < FEW


@pytest.mark.parametrize("by", ["loo", "loo_approximate_posterior"])
def test_leave_one_out(name, by):
    found = beside(name)
    theirs = azs.loo(found.theirs, pointwise=True)
    options = found.corrected if by == "loo_approximate_posterior" else {"pointwise": True}
    difference = np.ravel(getattr(azs, by)(found.ours, **options).elpd_i - theirs.elpd_i)
    assert abs(difference.sum()) < FEW * np.sqrt(len(difference) * difference.var(ddof=1))
