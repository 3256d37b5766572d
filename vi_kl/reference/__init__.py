"""ReferencePosterior: what is known about a posterior, from the best source available.

`find_reference` picks the first of these that applies:

- `closed_form_reference` takes it from a conjugate calculation;
- `gaussian_reference` finds and verifies a posterior that is exactly normal in z, without anyone doing the algebra;
- `reference_by_quadrature` integrates any smooth target of up to three dimensions, several modes and heavy tails
  included;
- `reference_run` samples any other by NUTS, refuses chains that fail their checks, and finds the log evidence by
  bridge sampling, with a second opinion by annealing;
- `reference_by_smc` leads populations of particles through tempered posteriors to those of several modes, between which
  no chain crosses, in up to some twenty dimensions, and refuses populations that do not agree.

The estimates of the evidence can be used alone too: `log_evidence_by_bridge`, `log_evidence_by_annealing`, and
`log_evidence_by_reverse_annealing`, a stochastic upper limit.
`enumerate_posterior` lists the exact posterior of a model whose latent sites are all discrete.
A certificate measures q against a `ReferencePosterior`; each of its figures carries its method and its error.
"""

from vi_kl.reference.closed_form import closed_form_reference
from vi_kl.reference.enumeration import EnumeratedPosterior, enumerate_posterior
from vi_kl.reference.find import find_reference
from vi_kl.reference.gaussian import NotGaussian, gaussian_reference
from vi_kl.reference.mcmc.annealing import log_evidence_by_annealing, log_evidence_by_reverse_annealing
from vi_kl.reference.mcmc.bridge import log_evidence_by_bridge
from vi_kl.reference.mcmc.checks import Checks
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.mcmc.reference_run import UntrustworthyReference, reference_run
from vi_kl.reference.mcmc.smc_reference import ModeShare, SMCReference, reference_by_smc
from vi_kl.reference.mcmc.tempering import Annealing, AnnealingError, StartingDensity
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.reference.quadrature.integrate import reference_by_quadrature

__all__ = [
    "Annealing",
    "AnnealingError",
    "Checks",
    "EnumeratedPosterior",
    "ModeShare",
    "Moments",
    "NotGaussian",
    "PosteriorDraws",
    "ReferencePosterior",
    "SMCReference",
    "StartingDensity",
    "UntrustworthyReference",
    "closed_form_reference",
    "enumerate_posterior",
    "find_reference",
    "gaussian_reference",
    "log_evidence_by_annealing",
    "log_evidence_by_bridge",
    "log_evidence_by_reverse_annealing",
    "reference_by_quadrature",
    "reference_by_smc",
    "reference_run",
]
