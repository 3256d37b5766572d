"""Adversarial parameters: what breaks floating-point formulas, exact in the dtype under test."""

import numpy as np


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
