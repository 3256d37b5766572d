"""Sampling: exact draws of the posterior, by NUTS that starts from a fit.

`sample(fit, key=key)` begins where the approximation ends: at its draws, resampled by importance, in coordinates in
which it is standard normal. So the chains need neither a way to the posterior's bulk nor a long adaptation, which
together are more than half of what NUTS costs from cold. The result is a `PosteriorSample`: a reference posterior that
has passed its checks, with what it cost and how far off the fit was.
"""

from vi_kl.workflows.sampling.posterior_sample import PosteriorSample
from vi_kl.workflows.sampling.sample import sample

__all__ = ["PosteriorSample", "sample"]
