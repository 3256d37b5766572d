"""The sinh-arcsinh map: a smooth bijection of the line whose two parameters set skewness and tails.

    S(v) = (sinh(tail arcsinh(v) + skew) - sinh(skew)) / (tail cosh(skew))

S(0) = 0 and S'(0) = 1, so that location and scale keep their meaning whatever the two are; skew = 0 and tail = 1 is the
identity, a tail above 1 is heavier than the normal's, below 1 lighter.

Reference: Jones & Pewsey (2009), "Sinh-arcsinh distributions".
"""

import jax.numpy as jnp
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform


def sinh_arcsinh(v, skew, log_tail):
    """S(v) and log S'(v), elementwise."""
    tail = jnp.exp(log_tail)
    inner = tail * jnp.arcsinh(v) + skew
    image = (jnp.sinh(inner) - jnp.sinh(skew)) / (tail * jnp.cosh(skew))
    return image, log_slope(v, inner, skew)


def sinh_arcsinh_inverse(y, skew, log_tail):
    """v with S(v) = y, and log S'(v), elementwise."""
    tail = jnp.exp(log_tail)
    inner = jnp.arcsinh(jnp.sinh(skew) + y * tail * jnp.cosh(skew))
    v = jnp.sinh((inner - skew) / tail)
    return v, log_slope(v, inner, skew)


def log_slope(v, inner, skew):
    return log_cosh(inner) - log_cosh(skew) - 0.5 * jnp.log1p(v**2)


def log_cosh(x):
    return jnp.logaddexp(x, -x) - jnp.log(2.0)


class SinhArcsinh(Transform):
    """S as a NumPyro transform, with a skewness and a log tail for each coordinate."""

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
