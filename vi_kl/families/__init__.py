"""Families: sets of candidate approximations q over z.

Normal distributions range from independent coordinates to any covariance; richer families are skewed, have heavy
tails or several centres; flows bend in any way. Those written over the model's own sites take betas, gammas and
Dirichlets by support, or any NumPyro guide. A point and a set of particles have no density. All but those over the
model's own sites are fitted in the units of a `Frame` (frame.py), a first normal guess of the posterior: no
parameter's scale matters, nor any correlation that the guess has seen. An `Approximation` is one fitted member, in
one interface whatever made it.

A family is offered here as soon as it has a file in this folder, and by name (`vi_kl.fit(target, "full_rank")`) once
it has an entry in `vi_kl.algorithms.registry.METHODS`, which says when to use which. `help(vi_kl.families)` lists them.
"""

from vi_kl.core.discovery import classes_in, first_sentence, listing
from vi_kl.families.approximation import Approximation, reflected
from vi_kl.families.block_normal import BlockNormal
from vi_kl.families.constrained import Constrained
from vi_kl.families.coupling import Coupling
from vi_kl.families.delta import Delta
from vi_kl.families.family import Family
from vi_kl.families.flow import Flow
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.guide import Guide, GuideError
from vi_kl.families.low_rank import LowRank
from vi_kl.families.mixture import Mixture
from vi_kl.families.nested_normal import NestedNormal
from vi_kl.families.particles import NoDensity, ParticleApproximation, Particles
from vi_kl.families.reflected import Reflected
from vi_kl.families.skewed import Skewed
from vi_kl.families.sparse_normal import SparseNormal
from vi_kl.families.student_t import StudentT

__all__ = [
    "Approximation",
    "BlockNormal",
    "Constrained",
    "Coupling",
    "Delta",
    "Family",
    "Flow",
    "FullRank",
    "Guide",
    "GuideError",
    "LowRank",
    "MeanField",
    "Mixture",
    "NestedNormal",
    "NoDensity",
    "ParticleApproximation",
    "Particles",
    "Reflected",
    "Skewed",
    "SparseNormal",
    "StudentT",
    "reflected",
]

_offered = classes_in(__name__, Family)
globals().update(_offered)
__doc__ = f"{__doc__ or ''}\n{listing({name: first_sentence(kind) for name, kind in _offered.items()})}\n"
