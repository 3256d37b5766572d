"""Draws of a posterior or of its approximation, and what is made of them.

Fits, approximations and reference posteriors have these methods (`Answers`), and all rest on draws of z:

    fit.summary(key, certificate=certificate)      means, sds and quantiles, with the certificate's doubt: a `Summary`
    fit.predict(key)                               the data drawn again, {site: (n, ...)}
    fit.predict(key, x_new, None)                  the model run forward with new arguments
    fit.log_likelihood(key)                        the log likelihood of each observation at each draw
    fit.resample(key, 1000)                        draws corrected by importance weights: a `Resampled`
    fit.to_arviz(key, certificate=certificate)     an xarray DataTree for ArviZ

The same key and number of draws make the same draws in all of them. `prior_predictive(target, key)` runs the model
forward from its prior.
"""

from vi_kl.draws.answers import Answers
from vi_kl.draws.arviz import NoArviz
from vi_kl.draws.prior import prior_predictive
from vi_kl.draws.resampling import Resampled
from vi_kl.draws.summary import Summary

__all__ = ["Answers", "NoArviz", "Resampled", "Summary", "prior_predictive"]
