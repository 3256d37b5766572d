"""Closed forms on symmetric matrices.

wishart        Wishart and InverseWishart, and their Cholesky factors
correlation    LKJ and LKJCholesky
"""

from vi_kl.divergences.analytic.matrices import correlation, wishart

__all__ = ["correlation", "wishart"]
