"""Pareto k-hat of a fitted q, which tells whether importance sampling can correct it.

It judges q only where q has draws: a mode that q never visits does not show in it. It is computed in
divergences/estimators/pareto.py, which the sample estimators of a divergence use too.
"""

from vi_kl.divergences.estimators.pareto import pareto_k

__all__ = ["pareto_k"]

# Above it no practical number of draws makes a mean of the weights reliable. A lower threshold would look safer and is
# not: samples that happen to lack large weights pass it more often, and their intervals cover less.
RELIABLE = 0.7
