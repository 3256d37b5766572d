"""The sinh-arcsinh map: a smooth bijection of the line whose two parameters set skewness and tails.

    S(v) = (sinh(tail arcsinh(v) + skew) - sinh(skew)) / (tail cosh(skew))

S(0) = 0 and S'(0) = 1, so that location and scale keep their meaning whatever the two are; skew = 0 and tail = 1 is the
identity, a tail above 1 is heavier than the normal's, below 1 lighter.

On the side of its short tail S ends at a bound, and brings what is there together by a factor of exp(-2 |skew|). In
floating point that much closeness to the bound is lost, and what stretches it out again has the density of many draws
but only a few values: an ELBO above the evidence. So a skewness or a log tail beyond the largest here counts as that.

Reference: Jones & Pewsey (2009), "Sinh-arcsinh distributions".
"""

import jax.numpy as jnp
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

LARGEST_SKEW = 6.0  # a factor of 6e-6: ten digits of sixteen are left
LARGEST_LOG_TAIL = 3.0  # a factor of twenty: the image of 2 is then 2e11


def sinh_arcsinh(v, skew, log_tail):
    """Return S(v) and log S'(v), elementwise."""
    skew, tail = bounded(skew, log_tail)
    half = tail * jnp.arcsinh(v) / 2
    # the difference of two sinh as a product, which keeps its digits near v = 0
    image = 2 * jnp.cosh(skew + half) * jnp.sinh(half) / (tail * jnp.cosh(skew))
    return image, log_slope(v, skew + 2 * half, skew)


def sinh_arcsinh_inverse(y, skew, log_tail):
    """Return v with S(v) = y, and log S'(v), elementwise."""
    skew, tail = bounded(skew, log_tail)
    inner = jnp.arcsinh(jnp.sinh(skew) + y * tail * jnp.cosh(skew))
    v = jnp.sinh((inner - skew) / tail)
    return v, log_slope(v, inner, skew)


def bounded(skew, log_tail):
    """Return the skewness and the tail after bounding both."""
    tail = jnp.exp(jnp.clip(log_tail, -LARGEST_LOG_TAIL, LARGEST_LOG_TAIL))
    return jnp.clip(skew, -LARGEST_SKEW, LARGEST_SKEW), tail


def log_slope(v, inner, skew):
    return log_cosh(inner) - log_cosh(skew) - 0.5 * jnp.log1p(v**2)


def log_cosh(x):
    return jnp.logaddexp(x, -x) - jnp.log(2.0)


class SinhArcsinh(Transform):
    """A NumPyro transform S, with a skewness and a log tail for each coordinate."""

    domain = constraints.real
    codomain = constraints.real

    def __init__(self, skew, log_tail):
        self.skew, self.log_tail = skew, log_tail

    def __call__(self, x):
        return sinh_arcsinh(x, self.skew, self.log_tail)[0]

    def _inverse(self, y):
        return sinh_arcsinh_inverse(y, self.skew, self.log_tail)[0]

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        return sinh_arcsinh(x, self.skew, self.log_tail)[1]

    def tree_flatten(self):
        return (self.skew, self.log_tail), (("skew", "log_tail"), {})

    def __eq__(self, other):
        if not isinstance(other, SinhArcsinh):
            return False
        return bool(jnp.all(self.skew == other.skew) & jnp.all(self.log_tail == other.log_tail))
