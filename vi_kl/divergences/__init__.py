"""Information theory on its own: pure functions of p and q, usable without any model.

p is the reference, q the approximation, and both are pmf arrays (the last axis is the support) or NumPyro
distributions. Everything is in nats unless `base=2` asks for bits.

    kl_divergence(p, q)     what is lost when q stands in for p; exact, or NoClosedForm
    estimate_kl(p, q)       the same by the best method there is, with its error: use it where kl_divergence
                            raises NoClosedForm
    entropy(p)              what a symbol of p costs in the code made for p
    cross_entropy(p, q)     what it costs in the code made for q: entropy + kl_divergence
    code_lengths(p)         what each symbol costs in the code made for p
    smooth(p, support)      a little probability for symbols never seen, so that no divergence is infinite
    project(p, family)      the member of a family with the smallest divergence: KL as the objective

    discrete      the pmf arrays
    analytic      the closed forms, on the primitives in bregman, evaluated in float64 by wide
    registry      which pairs have one
    numerical     finite sums and quadrature
    monte_carlo   means over draws
"""

from vi_kl.divergences.discrete import code_lengths, smooth
from vi_kl.divergences.kl import cross_entropy, entropy, estimate_kl, kl_divergence
from vi_kl.divergences.projection import Projection, project
from vi_kl.divergences.registry import NoClosedForm

__all__ = [
    "NoClosedForm",
    "Projection",
    "code_lengths",
    "cross_entropy",
    "entropy",
    "estimate_kl",
    "kl_divergence",
    "project",
    "smooth",
]
