"""Objectives: what the best q means. Always a loss, always minimised.

`ELBO` minimises the reverse divergence KL(q||posterior), up to the constant log evidence.
"""

from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.objective import Objective

__all__ = ["ELBO", "Objective"]
