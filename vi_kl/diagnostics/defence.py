"""Defensive draws: q mixed with wider and heavier densities, so that what q's own draws cannot see shows in weights.

A weight p / q has no bound where q's tails are thinner than p's, and a part of p that q never visits does not show in
it at all. Weights p / r over draws of a mixture r of q with densities that reach farther are at most p / q over q's
share where q serves, and see the tails where it does not. What is laid beside q is chosen by draws of its own, in
rounds, so that the weights that count are over draws that had no say in it.

With s = q / r and w = p / (Z q), KL(q||posterior) = E_r[s (w - 1 - log w)]: it holds the error of Z to second order
only, as it does with q's own draws.

References: Hesterberg (1995), "Weighted average importance sampling and defensive mixture distributions"; Owen & Zhou
(2000), "Safe and effective importance sampling"; Cappe, Guillin, Marin & Robert (2004), "Population Monte Carlo".
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from vi_kl.core.estimate import Estimate, error_of_mean
from vi_kl.core.gaussian import Gaussian
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.importance import effective_share, smoothed_weights
from vi_kl.diagnostics.parts import Concentric, Independent, Part
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.scouts import Scouts
from vi_kl.families.approximation import Approximation, log_prob_in_chunks
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.targets.target import CHUNK, log_density_in_chunks

MOST_DIMENSIONS = 100  # above, nothing laid beside q comes near a posterior that q does not fit
ROUNDS = 4  # of looking for what to lay beside q, at most
GOOD_SHARE = 0.3  # effective share of the draws at which a round is the last
FEWEST_COUNTING = 100  # effective draws, below which the mean weight is not known
MOST_DOUBT = 0.03  # nats that the tail beyond the largest weight may add, for a KL to be claimed


@dataclasses.dataclass(frozen=True)
class Weighted:
    """Draws of a mixture r in which q is a part, with the densities there.

    Attributes:
        z: (n, dim).
        log_p, log_r: of the unnormalised posterior and of r, (n,).
        strata: which part each was drawn from; as many from each as its share of r, not a random number.
        log_q: (n,), or None where q is no part of r because its density is known at its own draws only.
        elbo: what the KL is completed with where q is no part.
    """

    z: np.ndarray
    log_p: np.ndarray
    log_r: np.ndarray
    strata: np.ndarray
    log_q: np.ndarray | None = None
    elbo: Estimate | None = None

    @property
    def log_weights(self) -> np.ndarray:
        return self.log_p - self.log_r

    @property
    def normalised(self) -> np.ndarray:
        """Smoothed weights that add up to one."""
        return smoothed_weights(self.log_weights)

    def error_of(self, values: np.ndarray) -> float:
        """Standard error of the mean of values, one for each draw: what varies within parts, not between them."""
        counts = np.bincount(self.strata)
        means = np.bincount(self.strata, values) / np.maximum(counts, 1)
        return error_of_mean(values - means[self.strata])

    def __len__(self):
        return len(self.z)


@dataclasses.dataclass(frozen=True)
class Weighing:
    """What weighted draws tell.

    Attributes:
        log_evidence: in nats.
        kl: KL(q||posterior).
        k_hat: of the weights.
        effective: effective number of draws.
        beyond: nats that the tail beyond the largest weight may add to the KL.
        weighted: the draws.
        evaluations: of the log density, for all rounds.
    """

    log_evidence: Estimate
    kl: Estimate
    k_hat: float
    effective: float
    beyond: float
    weighted: Weighted
    evaluations: int = 0

    @property
    def is_known(self) -> bool:
        """Whether enough draws count, and what the tail can hold is little."""
        return self.effective >= FEWEST_COUNTING and self.beyond < MOST_DOUBT * max(1.0, self.kl.value)


def weigh(w: Weighted) -> Weighing:
    """Log evidence and KL of weighted draws."""
    n, words = len(w), f"weights of {len(w):,} draws of q and of wider densities"
    share = np.ones(n) if w.log_q is None else np.exp(w.log_q - w.log_r)
    log_z = float(logsumexp(w.log_weights) - np.log(share.sum()))
    relative = np.exp(w.log_weights - log_z)
    k_hat = pareto_k(w.log_weights)
    beyond = relative.max() / n / (1 - np.clip(k_hat, 0.0, 0.9))
    effective = n * effective_share(smoothed_weights(w.log_weights))
    evidence_error = float(np.hypot(w.error_of(relative - share), beyond))
    evidence = Estimate(log_z, evidence_error, words, num_draws=n)
    if w.log_q is None:
        words = f"ELBO, and {words}".replace("of q and ", "")
        kl = dataclasses.replace(evidence.minus(w.elbo, words), num_draws=n)
        return Weighing(evidence, kl, k_hat, effective, float(beyond), w)
    with np.errstate(invalid="ignore"):
        minus_log_w = np.where(share > 0, share * (w.log_q - w.log_p + log_z), 0.0)
    value = float(minus_log_w.sum() / share.sum())
    influence = minus_log_w - share * value + relative - share
    error = float(np.hypot(w.error_of(influence), beyond * is_heavy(k_hat)))
    return Weighing(evidence, Estimate(value, error, words, num_draws=n), k_hat, effective, float(beyond), w)


def is_heavy(k_hat: float) -> float:
    """How far the sample may lack its largest weights: 0 where their variance is safe, 1 where there may be none."""
    return float(np.clip((k_hat - 0.3) / 0.2, 0.0, 1.0))


def defend(
    q: Approximation,
    pilot: Draws,
    own: Draws,
    scouts: Scouts,
    modes: Sequence[Part],
    generator,
    n: int,
    *,
    size: int = CHUNK,
) -> Weighing:
    """Find what to lay beside q, and weigh.

    Args:
        q: the approximation.
        pilot: draws of q for finding it.
        own: draws of q that are weighed.
        scouts: draws around q at several scales.
        modes: densities over modes that climbs found, and along the neck of a funnel.
        generator: NumPy's.
        n: draws of what is laid beside q, in each of the first rounds; later ones have more.
        size: of the pieces in which densities are evaluated.
    """
    fixed = (scouts.wide, *modes)
    seen, best, evaluations = first_look(q, pilot, scouts, size), None, 0
    for round_ in range(ROUNDS):
        parts = (*laid_over(seen, scouts.wide), *fixed)
        more = n * (1 + round_ // 2)
        found = weigh(draw_weighted(q, own, parts, generator, more, size))
        evaluations += more
        if best is None or found.effective > best.effective:
            best = found
        if found.effective > GOOD_SHARE * len(found.weighted) or round_ == ROUNDS - 1:
            break
        # the next is chosen by draws that are none of those to be weighed
        seen = draw_weighted(q, pilot, parts, generator, n, size)
        evaluations += n
    return dataclasses.replace(best, evaluations=evaluations)


def first_look(q: Approximation, pilot: Draws, scouts: Scouts, size: int) -> Weighted:
    """The pilot draws of q and the scouts' draws, weighed together."""
    if not has_density(q):
        return Weighted(scouts.z, scouts.log_p, scouts.log_r, np.zeros(len(scouts.z), int))
    z = np.concatenate([pilot.z, scouts.z])
    log_p = np.concatenate([pilot.log_p, scouts.log_p])
    wide = np.concatenate([scouts.wide.log_prob(pilot.z), scouts.log_r]) + np.log(len(scouts.z) / len(z))
    log_q = np.concatenate([pilot.log_q, density_of(q, scouts.z, size)])
    strata = np.repeat([0, 1], [len(pilot), len(scouts.z)])
    return Weighted(z, log_p, np.logaddexp(wide, log_q + np.log(len(pilot) / len(z))), strata, log_q)


def laid_over(seen: Weighted, wide: Concentric) -> tuple[Part, ...]:
    """Densities with the moments of the posterior, as far as weighted draws tell them; with q's where they do not."""
    try:
        normal = weighted_moments(seen.z, seen.log_weights)
    except np.linalg.LinAlgError:
        normal = wide.normal
    return Concentric(normal, (1.0, 1.0, 1.5), 4.0), Independent(normal.scaled(0.8), 4.0)


def weighted_moments(z: np.ndarray, log_weights: np.ndarray) -> Gaussian:
    """The normal with the mean and covariance of weighted draws.

    Their weights are flattened to the power at which enough draws count.
    """
    fewest = max(200, 10 * z.shape[1])
    log_weights = log_weights - log_weights.max()
    for power in 0.8 ** np.arange(30):
        weights = np.exp(power * log_weights)
        weights /= weights.sum()
        if 1 / np.sum(weights**2) >= min(fewest, len(z) / 4):
            break
    mean = weights @ z
    centred = z - mean
    covariance = centred.T @ (centred * weights[:, None])
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(sd, sd) + 1e-6 * np.eye(len(sd))
    if not np.isfinite(correlation).all():
        raise np.linalg.LinAlgError("The moments of the weighted draws are not finite.")
    return Gaussian.of(mean, sd[:, None] * np.linalg.cholesky(correlation))


def draw_weighted(q: Approximation, own: Draws, parts: Sequence[Part], generator, n: int, size: int) -> Weighted:
    """Draws of the mixture of q, with draws that there are, and of parts, with n new: of each as many as its share.

    The posterior's own moments, and modes, have most of the new draws.
    """
    counts = allotted(n, [6.0, 4.0, 2.0, *[6.0] * (len(parts) - 3)])
    new = np.concatenate([part.sample(generator, count) for part, count in zip(parts, counts, strict=True)])
    log_p = finite(log_density_in_chunks(q.target, new, size))
    strata = np.repeat(np.arange(1, 1 + len(parts)), counts)
    if not has_density(q):
        elbo = Estimate(own.log_ratio.mean(), error_of_mean(own.log_ratio))
        return Weighted(new, log_p, log_prob_of(parts, counts / n, new), strata, None, elbo)
    total = len(own) + n
    z = np.concatenate([own.z, new])
    log_q = np.concatenate([own.log_q, density_of(q, new, size)])
    beside = log_prob_of(parts, counts / total, z)
    log_r = np.logaddexp(log_q + np.log(len(own) / total), beside)
    strata = np.concatenate([np.zeros(len(own), int), strata])
    return Weighted(z, np.concatenate([own.log_p, log_p]), log_r, strata, log_q)


def allotted(n: int, weights: list[float]) -> np.ndarray:
    """n draws divided by weights, whole numbers that add up to it."""
    ends = np.round(n * np.cumsum(weights) / np.sum(weights)).astype(int)
    return np.diff(ends, prepend=0)


def log_prob_of(parts: Sequence[Part], shares, z) -> np.ndarray:
    """log of the sum of densities times shares."""
    return np.logaddexp.reduce([part.log_prob(z) + np.log(share) for part, share in zip(parts, shares, strict=True)])


def has_density(q: Approximation) -> bool:
    """Whether log q is known, and cheap, anywhere."""
    return q.family.has_log_prob


def density_of(q: Approximation, z: np.ndarray, size: int = CHUNK) -> np.ndarray:
    """log q; a normal's without compiling anything."""
    normal = normal_of(q)
    return finite(log_prob_in_chunks(q, z, size)) if normal is None else normal.log_prob(z)


def normal_of(q: Approximation) -> Gaussian | None:
    """The normal that q is by its parameters; None where it is another distribution."""
    return q.family.frame(q.params).normal if isinstance(q.family, FullRank | MeanField) else None


def finite(log_values: np.ndarray) -> np.ndarray:
    """With NaN as no density."""
    return np.where(np.isnan(log_values), -np.inf, log_values)
