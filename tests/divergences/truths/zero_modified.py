"""Zero-inflated and hurdle distributions: the chance of 0, and the zero-truncated base, in closed form or added up."""

import itertools

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import mpf

from truths.case import case, exact
from truths.finite_sum import FINITE, UNBOUNDED, divergence, sizes
from truths.formulas import gamma, sigmoid, trial


def truncated_poisson(rate_p, rate_q):
    """E log of the ratio of rate^k / k! / (exp(rate) - 1)."""
    mean = rate_p / (1 - mpmath.exp(-rate_p))
    return mean * mpmath.log(rate_p / rate_q) + mpmath.log(mpmath.expm1(rate_q) / mpmath.expm1(rate_p))


def truncated_waiting(r, failure_p, failure_q):
    """E log of the ratio of rf(r, k) / k! success^k / (failure^-r - 1)."""
    mean = r * (1 - failure_p) / failure_p / (1 - failure_p**r)
    constants = (failure_q**-r - 1) / (failure_p**-r - 1)
    return mean * mpmath.log((1 - failure_p) / (1 - failure_q)) + mpmath.log(constants)


def behind_gates(zero_p, zero_q, truncated):
    return trial(zero_p, zero_q) + ((1 - zero_p) * truncated if zero_p < 1 else 0)


def gates(draw, by_logits):
    """Two gates, near-equal at times, and their exact probabilities."""
    p, q = draw.logits_pair(()) if by_logits else draw.probability_pair()
    return (p, q), [sigmoid(exact(x)) if by_logits else exact(x) for x in (p, q)]


def chance_of_zero(kind, gate, base_zero):
    return gate if issubclass(kind, dist.HurdleProbs) else gate + (1 - gate) * base_zero


def poisson_member(kind, gate, rate):
    if kind is dist.Poisson:
        return dist.Poisson(jnp.asarray(rate))
    if kind in (dist.ZeroInflatedPoisson, dist.HurdlePoisson):
        return kind(jnp.asarray(gate), jnp.asarray(rate))
    return kind(dist.Poisson(jnp.asarray(rate)), jnp.asarray(gate))


POISSONS = (
    dist.Poisson,
    dist.ZeroInflatedPoisson,
    dist.HurdlePoisson,
    dist.ZeroInflatedProbs,
    dist.HurdleProbs,
    dist.ZeroInflatedLogits,
    dist.HurdleLogits,
)
LOGITS = (dist.ZeroInflatedLogits, dist.HurdleLogits)


def register_poissons(p_class, q_class):
    @case(p_class, q_class)
    def gated_poisson_pair(draw):
        (gate_p, gate_q), (exact_p, exact_q) = gates(draw, p_class in LOGITS and q_class in LOGITS)
        if (p_class in LOGITS) != (q_class in LOGITS):  # one of each, and so never near-equal
            gate_p, gate_q = (draw.rounded(draw.rng.uniform(0.1, 0.4)), draw.rounded(draw.rng.uniform(0.5, 0.9)))
            exact_p, exact_q = (
                sigmoid(exact(x)) if kind in LOGITS else exact(x) for kind, x in ((p_class, gate_p), (q_class, gate_q))
            )
        rate_p, rate_q = draw.positive_pair(high=3)
        zeros = [
            mpmath.exp(-exact(rate)) if kind is dist.Poisson else chance_of_zero(kind, gate, mpmath.exp(-exact(rate)))
            for kind, gate, rate in ((p_class, exact_p, rate_p), (q_class, exact_q, rate_q))
        ]
        truth = behind_gates(*zeros, truncated_poisson(exact(rate_p), exact(rate_q)))
        return poisson_member(p_class, gate_p, rate_p), poisson_member(q_class, gate_q, rate_q), truth


for pair in itertools.product(POISSONS, repeat=2):
    if pair != (dist.Poisson, dist.Poisson):
        register_poissons(*pair)


def register_waiting(p_class, q_class):
    """Over negative binomials by rate, of one concentration."""

    @case(p_class, q_class)
    def gated_waiting_pair(draw):
        (gate_p, gate_q), exact_gates = gates(draw, False)
        rates = draw.positive_pair(high=3)
        r = draw.rounded(10 ** draw.rng.uniform(-3, 3))
        failures = [exact(rate) / (1 + exact(rate)) for rate in rates]
        bases = [dist.GammaPoisson(jnp.asarray(r), jnp.asarray(rate)) for rate in rates]
        members, zeros = [], []
        for kind, base, gate, chance, failure in zip(
            (p_class, q_class), bases, (gate_p, gate_q), exact_gates, failures, strict=True
        ):
            plain = kind is dist.GammaPoisson
            members.append(base if plain else kind(base, jnp.asarray(gate)))
            zeros.append(failure ** exact(r) if plain else chance_of_zero(kind, chance, failure ** exact(r)))
        return *members, behind_gates(*zeros, truncated_waiting(exact(r), *failures))


WAITING = (dist.GammaPoisson, dist.ZeroInflatedProbs, dist.HurdleProbs)
for pair in itertools.product(WAITING, repeat=2):
    if pair != (dist.GammaPoisson, dist.GammaPoisson):
        register_waiting(*pair)


def gated_pmf(kind, gate, pmf):
    zero = chance_of_zero(kind, gate, pmf[0])
    return [zero, *((1 - zero) * x / (1 - pmf[0]) for x in pmf[1:])]


def gated_maker(kind, make):
    """A maker of a gated distribution over a base; a base that is surely 0 is no base for a hurdle."""

    def maker(draw, *most):
        base, pmf = make(draw, *most)
        while pmf[0] == 1:
            base, pmf = make(draw, *most)
        gate = draw.rounded(draw.rng.uniform(0.01, 0.9))
        return kind(base, jnp.asarray(gate), validate_args=False), gated_pmf(kind, exact(gate), pmf)

    return maker


def register_sums(p_class, q_class):
    """Finite p, gated or not, against anything, gated or not."""
    binomial, poisson = FINITE[dist.BinomialProbs], UNBOUNDED[dist.Poisson]
    gated_p = {kind: gated_maker(kind, binomial) for kind in (dist.ZeroInflatedProbs, dist.HurdleProbs)}
    gated_q = {kind: gated_maker(kind, poisson) for kind in (dist.ZeroInflatedProbs, dist.HurdleProbs)}

    @case(p_class, q_class)
    def gated_sum_pair(draw):
        of_p, of_q = sizes(draw, q_class)
        p, pmf_p = FINITE[p_class](draw, of_p) if p_class in FINITE else gated_p[p_class](draw, of_p)
        q, pmf_q = FINITE[q_class](draw, of_q) if q_class in FINITE else (UNBOUNDED | gated_q)[q_class](draw)
        return p, q, divergence(pmf_p, pmf_q)


GATED = (dist.ZeroInflatedProbs, dist.HurdleProbs)
for pair in (*itertools.product(FINITE, GATED), *itertools.product(GATED, (*FINITE, *UNBOUNDED, *GATED))):
    register_sums(*pair)


def register_endless(p_class, q_class):
    """Geometrics and negative binomials against themselves behind a gate."""
    by_logits = q_class is dist.GeometricLogits or p_class is dist.GeometricLogits

    @case(p_class, q_class)
    def gated_geometric_pair(draw):
        x, y = draw.rounded(draw.rng.uniform(0.05, 0.9, size=2))
        if by_logits:
            x, y = draw.rounded([3 * x, -3 * y])
        gate = draw.rounded(draw.rng.uniform(0.1, 0.9))
        kind = dist.GeometricLogits if by_logits else dist.GeometricProbs
        failures = [sigmoid(exact(z)) if by_logits else exact(z) for z in (x, y)]
        members, zeros = [], []
        for member, z, failure in zip((p_class, q_class), (x, y), failures, strict=True):
            base, plain = kind(jnp.asarray(z)), member is kind
            members.append(base if plain else member(base, jnp.asarray(gate)))
            zeros.append(failure if plain else chance_of_zero(member, exact(gate), failure))
        return *members, behind_gates(*zeros, truncated_waiting(mpf(1), *failures))


for geometric, gated in itertools.product((dist.GeometricProbs, dist.GeometricLogits), GATED):
    register_endless(geometric, gated)
    register_endless(gated, geometric)


def register_densities(kind, truth, parameters):
    @case(kind, kind)
    def hurdle_of_densities_pair(draw):
        (gate_p, gate_q), exact_gates = gates(draw, False)
        left, right = parameters(draw)
        p, q = kind(jnp.asarray(gate_p), *map(jnp.asarray, left)), kind(jnp.asarray(gate_q), *map(jnp.asarray, right))
        return p, q, behind_gates(*exact_gates, truth(*exact(left), *exact(right)))


def gamma_parameters(draw):
    (a, c), (b, d) = draw.positive_pair(), draw.positive_pair()
    return (a, b), (c, d)


register_densities(dist.HurdleGamma, gamma, gamma_parameters)
