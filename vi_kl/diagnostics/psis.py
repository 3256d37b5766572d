"""Pareto k-hat of a fitted q, which tells whether importance sampling can correct it.

It judges q only where q has draws: a mode that q never visits does not show in it. It is computed in
divergences/estimators/pareto.py, which the sample estimators of a divergence use too.
"""

from vi_kl.divergences.estimators.pareto import RELIABLE, pareto_k

__all__ = ["RELIABLE", "pareto_k"]
