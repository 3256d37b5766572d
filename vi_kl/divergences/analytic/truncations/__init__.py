"""Closed forms of truncated distributions.

pairs               which meet which
truncated_normal    normals of any parameters, truncated anywhere
truncated_gamma     gammas likewise
interval_mass       two truncations of any one base: what q has outside p's interval
"""

from vi_kl.divergences.analytic.truncations import pairs

__all__ = ["pairs"]
