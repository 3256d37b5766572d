"""Defensive importance sampling: draws of q mixed with wider and heavier-tailed densities show what q misses.

A weight p / q has no bound where q's tails are thinner than p's, and a part of p that q never visits does not show in
it at all. Let r be a mixture of q with densities that reach farther. A weight p / r over draws of r is at most p / q
divided by q's share of the mixture, and it sees the tails and the parts that q misses. The other components are chosen
with draws of their own, in rounds, so that the choice is independent of the draws whose weights count.

With s = q / r and w = p / (Z q), KL(q||posterior) = E_r[s (w - 1 - log w)]. An error of Z enters it only at second
order, as it does with q's own draws.

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
from vi_kl.diagnostics.parts import Concentric, Independent, Part, finite
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.scouts import Scouts
from vi_kl.families.approximation import Approximation, log_prob_in_chunks
from vi_kl.targets.target import log_density_in_chunks

MOST_DIMENSIONS = 100  # with more, no mixture of this kind comes near a posterior that q does not fit
ROUNDS = 4  # the most rounds in which densities are chosen
GOOD_SHARE = 0.3  # the effective share of the draws at which a round is the last
FEWEST_COUNTING = 100  # effective draws, below which the mean weight is not known
MOST_DOUBT = 0.03  # the most nats that the tail beyond the largest weight may add to a KL of 1 nat that is reported
LARGEST_KL = 30.0  # nats, above which that does not rise with the KL: one draw with all the weight adds a nat or more
NO_SHARE = 1e-5  # q's share of r where a density of 0 is taken for failed arithmetic: no more of q's mass in all


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A sample from a mixture r that has q as a component, with the densities at its draws.

    Attributes:
        z: the draws, (n, dim).
        log_p: log of the unnormalised posterior density at the draws, (n,).
        log_r: log of the mixture's density at the draws, (n,).
        strata: the index of the component that each draw is from, (n,). Each component has a fixed number of draws, in
            proportion to its share of r (stratified sampling).
        log_q: log q at the draws, (n,), or None if q is not a component because its density is known at its own draws
            only.
        elbo: the ELBO of q, from which KL is computed if q is not a component.
    """

    z: np.ndarray
    log_p: np.ndarray
    log_r: np.ndarray
    strata: np.ndarray
    log_q: np.ndarray | None = None
    elbo: Estimate | None = None

    @property
    def log_weights(self) -> np.ndarray:
        """The log importance weights log p - log r, (n,)."""
        return self.log_p - self.log_r

    @property
    def normalised(self) -> np.ndarray:
        """The Pareto-smoothed weights, which add up to one."""
        return smoothed_weights(self.log_weights)

    def error_of(self, values: np.ndarray) -> float:
        """Return the standard error of the mean of values, one for each draw, from their variance within strata."""
        counts = np.bincount(self.strata)
        means = np.bincount(self.strata, values) / np.maximum(counts, 1)
        return error_of_mean(values - means[self.strata])

    def __len__(self):
        return len(self.z)


@dataclasses.dataclass(frozen=True)
class Weighing:
    """The log evidence and KL(q||posterior) that weighted draws estimate, and how reliable they are.

    Attributes:
        log_evidence: the log evidence, in nats.
        kl: KL(q||posterior), in nats.
        k_hat: Pareto's k-hat of the weights.
        effective: the effective number of draws.
        beyond: the nats that the tail beyond the largest weight may add to the KL.
        weighted: the draws.
        evaluations: the number of evaluations of the log density, over all rounds.
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
        """Whether the effective number of draws is large enough, and the tail's possible contribution small enough."""
        doubt = MOST_DOUBT * float(np.clip(self.kl.value, 1.0, LARGEST_KL))
        return self.effective >= FEWEST_COUNTING and self.beyond < doubt


def weigh(w: Weighted) -> Weighing:
    """Estimate log evidence and KL(q||posterior) from weighted draws."""
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
        counts = share > np.where(np.isneginf(w.log_p), NO_SHARE, 0.0)
        minus_log_w = np.where(counts, share * (w.log_q - w.log_p + log_z), 0.0)
        value = float(minus_log_w.sum() / share.sum())
        influence = minus_log_w - share * value + relative - share
    error = float(np.hypot(w.error_of(influence), beyond * is_heavy(k_hat)))
    return Weighing(evidence, Estimate(value, error, words, num_draws=n), k_hat, effective, float(beyond), w)


def is_heavy(k_hat: float) -> float:
    """Return how much of the tail's possible contribution the error includes: 0 up to k-hat 0.3, rising to 1 at 0.5."""
    return float(np.clip((k_hat - 0.3) / 0.2, 0.0, 1.0))


def defend(
    q: Approximation,
    pilot: Draws,
    own: Draws,
    scouts: Scouts,
    modes: Sequence[Part],
    generator,
    n: int,
) -> Weighing:
    """Choose wider densities to mix with q, and weigh draws of the mixture.

    Args:
        q: the approximation.
        pilot: draws of q that serve only to choose the densities.
        own: draws of q that are weighed.
        scouts: draws around q at several scales.
        modes: densities over the modes that climbs found, and along the neck of a funnel.
        generator: NumPy's random generator.
        n: the number of draws of the other densities in each of the first rounds; later rounds have more.
    """
    fixed = (scouts.wide, *modes)
    seen, best, evaluations = first_look(q, pilot, scouts), None, 0
    for round_ in range(ROUNDS):
        parts = (*densities_of_moments(seen, scouts.wide), *fixed)
        more = n * (1 + round_ // 2)
        found = weigh(draw_weighted(q, own, parts, generator, more))
        evaluations += more
        if best is None or (found.is_known, found.effective) > (best.is_known, best.effective):
            best = found
        is_good = found.is_known and found.effective > GOOD_SHARE * len(found.weighted)
        if is_good or round_ == ROUNDS - 1:
            break
        # the next is chosen by draws that are none of those to be weighed
        seen = draw_weighted(q, pilot, parts, generator, n)
        evaluations += n
    return dataclasses.replace(best, evaluations=evaluations)


def first_look(q: Approximation, pilot: Draws, scouts: Scouts) -> Weighted:
    """Return the pilot draws of q and the scouts' draws as one weighted sample."""
    if not has_density(q):
        return Weighted(scouts.z, scouts.log_p, scouts.log_r, np.zeros(len(scouts.z), int))
    z = np.concatenate([pilot.z, scouts.z])
    log_p = np.concatenate([pilot.log_p, scouts.log_p])
    wide = np.concatenate([scouts.wide.log_prob(pilot.z), scouts.log_r]) + np.log(len(scouts.z) / len(z))
    log_q = np.concatenate([pilot.log_q, density_of(q, scouts.z)])
    strata = np.repeat([0, 1], [len(pilot), len(scouts.z)])
    return Weighted(z, log_p, np.logaddexp(wide, log_q + np.log(len(pilot) / len(z))), strata, log_q)


def densities_of_moments(seen: Weighted, wide: Concentric) -> tuple[Part, ...]:
    """Return densities with the posterior's moments as the weighted draws estimate them, or with q's if they cannot."""
    try:
        normal = weighted_moments(seen.z, seen.log_weights)
    except np.linalg.LinAlgError:
        normal = wide.normal
    return Concentric(normal, (1.0, 1.0, 1.5), 4.0), Independent(normal.scaled(0.8), 4.0)


def weighted_moments(z: np.ndarray, log_weights: np.ndarray) -> Gaussian:
    """Return the normal with the mean and covariance of weighted draws.

    The weights are raised to the largest power up to 1 at which enough draws count.
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


def draw_weighted(q: Approximation, own: Draws, parts: Sequence[Part], generator, n: int) -> Weighted:
    """Draw from the mixture of q and the other densities: q's draws are given, and n draws of the others are new.

    Each density has as many draws as its share. Most of the new ones are from the densities that have the posterior's
    moments, or lie over modes.
    """
    counts = allotted(n, [6.0, 4.0, 2.0, *[6.0] * (len(parts) - 3)])
    new = np.concatenate([part.sample(generator, count) for part, count in zip(parts, counts, strict=True)])
    log_p = finite(log_density_in_chunks(q.target, new))
    strata = np.repeat(np.arange(1, 1 + len(parts)), counts)
    if not has_density(q):
        elbo = Estimate(own.log_ratio.mean(), error_of_mean(own.log_ratio))
        return Weighted(new, log_p, log_prob_of(parts, counts / n, new), strata, None, elbo)
    total = len(own) + n
    z = np.concatenate([own.z, new])
    log_q = np.concatenate([own.log_q, density_of(q, new)])
    beside = log_prob_of(parts, counts / total, z)
    log_r = np.logaddexp(log_q + np.log(len(own) / total), beside)
    strata = np.concatenate([np.zeros(len(own), int), strata])
    return Weighted(z, np.concatenate([own.log_p, log_p]), log_r, strata, log_q)


def allotted(n: int, weights: list[float]) -> np.ndarray:
    """Divide n draws in proportion to weights, into whole numbers that add up to n."""
    ends = np.round(n * np.cumsum(weights) / np.sum(weights)).astype(int)
    return np.diff(ends, prepend=0)


def log_prob_of(parts: Sequence[Part], shares, z) -> np.ndarray:
    """Return the log of the sum of densities times their shares, at points z."""
    return np.logaddexp.reduce([part.log_prob(z) + np.log(share) for part, share in zip(parts, shares, strict=True)])


def has_density(q: Approximation) -> bool:
    """Return whether log q can be evaluated, and cheaply, at any point."""
    return q.family.has_log_prob


def density_of(q: Approximation, z: np.ndarray) -> np.ndarray:
    """Return log q at points z, for a normal q without compiling anything."""
    normal = normal_of(q)
    return finite(log_prob_in_chunks(q, z)) if normal is None else normal.log_prob(z)


def normal_of(q: Approximation) -> Gaussian | None:
    """Return the normal that q is by its parameters, or None if it is another distribution."""
    return q.family.normal(q.params)
