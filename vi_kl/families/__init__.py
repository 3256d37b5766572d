"""Families: sets of candidate approximations q over z.

`MeanField` (independent normals) is cheap and too narrow where coordinates are correlated; `FullRank` (one
multivariate normal) sees correlation; `Flow` (an inverse autoregressive flow) bends; `Guide` wraps any NumPyro
guide, written by hand or automatic. An `Approximation` is one fitted member, in one interface whatever made it.
"""

from vi_kl.families.approximation import Approximation
from vi_kl.families.family import Family
from vi_kl.families.flow import Flow
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.guide import Guide, GuideError

__all__ = ["Approximation", "Family", "Flow", "FullRank", "Guide", "GuideError", "MeanField"]
