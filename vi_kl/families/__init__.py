"""Families: sets of candidate approximations q over z.

Normal distributions: `MeanField` (independent coordinates) is cheap and too narrow where coordinates are correlated;
`BlockNormal` sees correlation within a site, `LowRank` the strongest directions in many dimensions, `FullRank` all of
it. `Skewed` bends each coordinate of a full-rank normal to its own skewness and tails, `StudentT` has heavy tails in
all directions, `Mixture` has several centres. Flows learn any shape: `Flow` (inverse autoregressive) and `Coupling`.
`Constrained` and `Guide` are written over the model's own sites: betas, gammas and Dirichlets by support, or any
NumPyro guide, written by hand or automatic. `Delta` is a point and `Particles` a set of points: neither has a
density.

All but those over the model's own sites are fitted in the units of a `Frame` (frame.py), a first normal guess of the
posterior: no parameter's scale matters, nor any correlation that the guess has seen. An `Approximation` is one fitted
member, in one interface whatever made it.
"""

from vi_kl.families.approximation import Approximation
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
from vi_kl.families.particles import NoDensity, ParticleApproximation, Particles
from vi_kl.families.skewed import Skewed
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
    "NoDensity",
    "ParticleApproximation",
    "Particles",
    "Skewed",
    "StudentT",
]
