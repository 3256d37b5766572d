"""The truth about closed-form KL divergences: the textbook formulas in 60 digits, and adversarial parameters.

A case is a pair of NumPyro distributions whose parameters are exact in the dtype under test, with the formula for
their truth. The generators draw what breaks floating-point formulas: near-equal parameters, matched means,
concentrations from 1e-3 to 1e8, probabilities next to 0 and 1, ill-conditioned covariances; and far pairs too.
"""

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import mpf

mpmath.mp.dps = 60


def exact(array):
    """A floating array as nested lists of mpmath numbers."""
    return [exact(row) for row in array] if np.ndim(array) else mpf(float(array))


def normal(loc_p, scale_p, loc_q, scale_q):
    return mpmath.log(scale_q / scale_p) + (scale_p**2 + (loc_p - loc_q) ** 2) / (2 * scale_q**2) - mpf(1) / 2


def gamma(a, b, c, d):
    return (
        (a - c) * mpmath.digamma(a)
        - mpmath.loggamma(a)
        + mpmath.loggamma(c)
        + c * (mpmath.log(b) - mpmath.log(d))
        + a * (d - b) / b
    )


def dirichlet(a, b):
    total_a, total_b = sum(a), sum(b)
    value = mpmath.loggamma(total_a) - mpmath.loggamma(total_b)
    for x, y in zip(a, b, strict=True):
        value += mpmath.loggamma(y) - mpmath.loggamma(x)
        value += (x - y) * (mpmath.digamma(x) - mpmath.digamma(total_a))
    return value


def categorical(p, q):
    """Of weights, which are divided by their sums."""
    total_p, total_q = sum(p), sum(q)
    pairs = [(x / total_p, y / total_q) for x, y in zip(p, q, strict=True) if x > 0]
    if any(y == 0 for _, y in pairs):
        return mpf("inf")
    return sum(x * mpmath.log(x / y) for x, y in pairs)


def trial(p, q):
    return categorical([p, 1 - p], [q, 1 - q])


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def binomial_pmf(n, p):
    return [mpmath.binomial(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def binomial(n, p, m, q):
    length = max(n, m) + 1
    pmfs = [binomial_pmf(*pair) for pair in ((n, p), (m, q))]
    return categorical(*(pmf + [mpf(0)] * (length - len(pmf)) for pmf in pmfs))


def multivariate_normal(loc_p, tril_p, loc_q, tril_q):
    size = len(loc_p)
    precision = mpmath.inverse(mpmath.matrix(tril_q))
    scaled = precision * mpmath.matrix(tril_p)
    z = precision * (mpmath.matrix(loc_p) - mpmath.matrix(loc_q))
    value = sum(mpmath.log(tril_q[i][i] / tril_p[i][i]) for i in range(size))
    squares = sum(scaled[i, j] ** 2 for i in range(size) for j in range(size)) + sum(x**2 for x in z)
    return value + (squares - size) / 2


class Draws:
    """Adversarial parameters from a seeded generator, rounded to a dtype."""

    def __init__(self, seed, dtype):
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype

    def rounded(self, values):
        return np.asarray(values, dtype=self.dtype)

    def relative_step(self):
        """How far q's parameters are from p's: down to the last digits of the dtype, up to order one."""
        smallest = -6 if self.dtype == np.float32 else -11
        return 10 ** self.rng.uniform(smallest, 0)

    def positive_pair(self, size=(), low=-3, high=8):
        """Concentrations, rates or scales: near-equal, one common factor, all but one equal, or unrelated."""
        rng, step = self.rng, self.relative_step()
        p = 10 ** rng.uniform(low, high, size)
        kind = rng.integers(4)
        if kind == 0:
            q = p * np.exp(step * rng.normal(size=size))
        elif kind == 1:
            q = p * np.exp(step * rng.normal()) * np.exp(1e-3 * step * rng.normal(size=size))
        elif kind == 2:
            changed = np.arange(np.size(p)).reshape(size) == rng.integers(np.size(p))
            q = np.where(changed, p * np.exp(step * rng.normal()), p)
        else:
            q = 10 ** rng.uniform(low, high, size)
        return self.rounded(p), self.rounded(q)

    def probability_pair(self):
        rng, step = self.rng, self.relative_step()
        logit = rng.normal() * 10 ** rng.uniform(-1, 1.3)
        p = 1 / (1 + np.exp(-logit))
        q = np.clip(p * np.exp(step * rng.normal()), 0, 1) if rng.random() < 0.7 else rng.beta(0.1, 0.1)
        return [self.rounded(np.clip(x, 1e-30, 1)) for x in (p, q)]

    def simplex_pair(self, size):
        rng, step = self.rng, self.relative_step()
        p = rng.dirichlet(np.full(size, 10 ** rng.uniform(-1, 1))) + 1e-25
        q = p * np.exp(step * rng.normal(size=size)) if rng.random() < 0.7 else rng.dirichlet(np.ones(size))
        return [self.rounded(x / x.sum()) for x in (p, q)]

    def logits_pair(self, size):
        rng, step = self.rng, self.relative_step()
        p = rng.normal(size=size) * 10 ** rng.uniform(-1, 1.5)
        q = p + step * rng.normal(size=size) + rng.choice([0, 5]) * rng.normal()
        return self.rounded(p), self.rounded(q)

    def cholesky_pair(self, size):
        """Cholesky factors of badly scaled, strongly correlated covariances, near-equal or unrelated."""

        def factor():
            scales = 10 ** self.rng.uniform(-3, 3, size)
            correlated = np.ones((size, size)) * self.rng.uniform(0, 0.999) + np.eye(size) * 1e-3
            correlated += 0.1 * np.diag(self.rng.random(size))
            return scales[:, None] * np.linalg.cholesky(correlated)

        p, step = factor(), self.relative_step()
        q = p * np.exp(step * self.rng.normal(size=p.shape)) if self.rng.random() < 0.7 else factor()
        return self.rounded(np.tril(p)), self.rounded(np.tril(q))

    def loc_pair(self, scale):
        p = self.rng.normal(size=np.shape(scale)) * 10 ** self.rng.uniform(-2, 3)
        return self.rounded(p), self.rounded(p + scale * self.relative_step() * self.rng.normal())


def normal_case(draw):
    scales = draw.positive_pair(low=-4, high=4)
    locs = draw.loc_pair(scales[1])
    p, q = (dist.Normal(jnp.asarray(loc), jnp.asarray(s)) for loc, s in zip(locs, scales, strict=True))
    return p, q, normal(exact(locs[0]), exact(scales[0]), exact(locs[1]), exact(scales[1]))


def gamma_case(draw):
    (a, c), (b, d) = draw.positive_pair(), draw.positive_pair(low=-3, high=3)
    if draw.rng.random() < 0.3:
        d = draw.rounded(b * c.astype(float) / a)  # equal means
    p, q = dist.Gamma(jnp.asarray(a), jnp.asarray(b)), dist.Gamma(jnp.asarray(c), jnp.asarray(d))
    return p, q, gamma(*map(exact, (a, b, c, d)))


def beta_case(draw):
    p, q = draw.positive_pair(size=2)
    truth = dirichlet(exact(p), exact(q))
    return dist.Beta(*map(jnp.asarray, p)), dist.Beta(*map(jnp.asarray, q)), truth


def dirichlet_case(draw):
    p, q = draw.positive_pair(size=int(draw.rng.choice([2, 7])))
    truth = dirichlet(exact(p), exact(q))
    return dist.Dirichlet(jnp.asarray(p)), dist.Dirichlet(jnp.asarray(q)), truth


def bernoulli_probs_case(draw):
    p, q = draw.probability_pair()
    return dist.BernoulliProbs(jnp.asarray(p)), dist.BernoulliProbs(jnp.asarray(q)), trial(exact(p), exact(q))


def bernoulli_logits_case(draw):
    p, q = draw.logits_pair(())
    truth = trial(sigmoid(exact(p)), sigmoid(exact(q)))
    return dist.BernoulliLogits(jnp.asarray(p)), dist.BernoulliLogits(jnp.asarray(q)), truth


def bernoulli_mixed_case(draw):
    """Probability against logit: never closer than rounding one into the other, as neither is exact."""
    p, q = (draw.rounded(draw.rng.uniform(0.01, 0.99)), draw.rounded(draw.rng.normal() * 3))
    truth = trial(exact(p), sigmoid(exact(q)))
    return dist.BernoulliProbs(jnp.asarray(p)), dist.BernoulliLogits(jnp.asarray(q)), truth


def binomial_case(draw):
    p, q = draw.probability_pair()
    n = int(draw.rng.choice([1, 10, 1000]))
    truth = n * trial(exact(p), exact(q))
    return dist.Binomial(n, jnp.asarray(p)), dist.Binomial(n, jnp.asarray(q)), truth


def binomial_logits_case(draw):
    p, q = draw.logits_pair(())
    n = int(draw.rng.choice([1, 10, 1000]))
    truth = n * trial(sigmoid(exact(p)), sigmoid(exact(q)))
    return dist.BinomialLogits(jnp.asarray(p), n), dist.BinomialLogits(jnp.asarray(q), n), truth


def binomial_different_trials_case(draw):
    n, m = map(int, draw.rng.choice([(1, 2), (10, 12), (60, 100), (400, 401)]))
    p = draw.rounded(draw.rng.uniform(0.01, 0.99))
    q = draw.rounded(p * n / m if draw.rng.random() < 0.5 else draw.rng.uniform(0.01, 0.99))
    return dist.Binomial(n, jnp.asarray(p)), dist.Binomial(m, jnp.asarray(q)), binomial(n, exact(p), m, exact(q))


def categorical_probs_case(draw):
    p, q = draw.simplex_pair(int(draw.rng.choice([2, 7])))
    truth = categorical(exact(p), exact(q))
    unchecked = {"validate_args": False}  # float32 probabilities sum to 1 only nearly
    return dist.CategoricalProbs(jnp.asarray(p), **unchecked), dist.CategoricalProbs(jnp.asarray(q), **unchecked), truth


def categorical_logits_case(draw):
    p, q = draw.logits_pair(int(draw.rng.choice([2, 7])))
    truth = categorical(*([mpmath.exp(x) for x in exact(logits)] for logits in (p, q)))
    return dist.CategoricalLogits(jnp.asarray(p)), dist.CategoricalLogits(jnp.asarray(q)), truth


def categorical_mixed_case(draw):
    p, q = draw.simplex_pair(5)[0], draw.logits_pair(5)[1]
    truth = categorical(exact(p), [mpmath.exp(x) for x in exact(q)])
    return dist.CategoricalProbs(jnp.asarray(p), validate_args=False), dist.CategoricalLogits(jnp.asarray(q)), truth


def multivariate_normal_case(draw):
    trils = draw.cholesky_pair(int(draw.rng.choice([2, 5])))
    locs = draw.loc_pair(np.diag(trils[1]))
    p, q = (
        dist.MultivariateNormal(jnp.asarray(m), scale_tril=jnp.asarray(t)) for m, t in zip(locs, trils, strict=True)
    )
    return p, q, multivariate_normal(exact(locs[0]), exact(trils[0]), exact(locs[1]), exact(trils[1]))


def independent_normal_case(draw):
    (tril, _), scales = draw.cholesky_pair(4), draw.positive_pair(size=4, low=-3, high=3)
    locs = draw.loc_pair(np.diag(tril))
    p = dist.Normal(jnp.asarray(locs[0]), jnp.asarray(scales[0])).to_event(1)
    q = dist.MultivariateNormal(jnp.asarray(locs[1]), scale_tril=jnp.asarray(tril))
    diagonal = exact(np.diag(scales[0]))
    return p, q, multivariate_normal(exact(locs[0]), diagonal, exact(locs[1]), exact(tril))


def reversed_independent_normal_case(draw):
    (tril, _), scales = draw.cholesky_pair(4), draw.positive_pair(size=4, low=-3, high=3)
    locs = draw.loc_pair(np.diag(tril))
    p = dist.MultivariateNormal(jnp.asarray(locs[0]), scale_tril=jnp.asarray(tril))
    q = dist.Normal(jnp.asarray(locs[1]), jnp.asarray(scales[0])).to_event(1)
    diagonal = exact(np.diag(scales[0]))
    return p, q, multivariate_normal(exact(locs[0]), exact(tril), exact(locs[1]), diagonal)


def independent_case(draw):
    """Independent pairs add up; three Betas stand for any inner distribution."""
    pairs = [draw.positive_pair(size=2) for _ in range(3)]
    p, q = (np.stack([pair[side] for pair in pairs], -1) for side in (0, 1))
    truth = sum(dirichlet(exact(a), exact(b)) for a, b in pairs)
    return (*(dist.Beta(jnp.asarray(x[0]), jnp.asarray(x[1])).to_event(1) for x in (p, q)), truth)


CASES = {name.removesuffix("_case"): make for name, make in list(globals().items()) if name.endswith("_case")}
