"""Closed forms of truncated distributions.

pairs               the pairs that have a form
truncated_normal    normals of any parameters, truncated anywhere
truncated_gamma     gammas of any parameters, truncated anywhere
interval_mass       two truncations of any one base: the probability of q outside p's interval
"""

from vi_kl.divergences.analytic.truncations import pairs

__all__ = ["pairs"]
