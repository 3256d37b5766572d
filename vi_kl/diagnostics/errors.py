"""Errors of averages under q, in the model's own space and in units of the posterior sd.

The same figures for q's draws as they are, and for q's draws with importance weights: what reweighting mends.
"""

import dataclasses

import numpy as np

from vi_kl.target.target import Target, constrain_in_chunks
from vi_kl.truth.truth import Truth

PROBABILITIES = (0.05, 0.5, 0.95)
MOST_CORRELATIONS = 300  # entries whose correlations are compared; more are a matrix nobody reads


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean, sd and quantiles (at PROBABILITIES, leading axis) of one site."""

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray


@dataclasses.dataclass(frozen=True)
class SiteErrors:
    """Errors at one site, entry by entry.

    Attributes:
        mean_error: (mean under q - posterior mean) / posterior sd.
        sd_ratio: sd under q / posterior sd: below 1 where q is too sure.
        quantile_errors: (quantile under q - the posterior's) / posterior sd at 5, 50 and 95%, leading axis 3.
        noise: Monte-Carlo standard error of the first, from the numbers of draws; that of the others is up to
            about twice as large.
    """

    mean_error: np.ndarray
    sd_ratio: np.ndarray
    quantile_errors: np.ndarray
    noise: float

    @property
    def worst_mean(self) -> float:
        return float(np.max(np.abs(self.mean_error)))

    @property
    def worst_sd(self) -> float:
        """The sd ratio farthest from 1, on the log scale."""
        ratios = np.ravel(self.sd_ratio)
        return float(ratios[np.argmax(np.abs(np.log(ratios)))])

    @property
    def worst_quantile(self) -> float:
        return float(np.max(np.abs(self.quantile_errors)))


@dataclasses.dataclass(frozen=True)
class Reference:
    """What q's averages are held to.

    Attributes:
        summaries: {site: Summary} of the posterior.
        correlation: of all entries of all sites, or None where they are too many.
        noise: {site: standard error of its means, in posterior sd}.
        source: in words.
    """

    summaries: dict[str, Summary]
    correlation: np.ndarray | None
    noise: dict[str, float]
    source: str


@dataclasses.dataclass(frozen=True)
class Errors:
    """Of all sites, against one reference.

    Attributes:
        sites: {site: SiteErrors}.
        correlation: the largest error of a correlation between two entries of the model's latent sites.
        against: what they are measured against, in words.
    """

    sites: dict[str, SiteErrors]
    correlation: float
    against: str

    @property
    def worst_mean(self) -> float:
        return max(site.worst_mean for site in self.sites.values())

    @property
    def worst_sd(self) -> float:
        return max((site.worst_sd for site in self.sites.values()), key=lambda ratio: abs(np.log(ratio)))

    @property
    def worst_quantile(self) -> float:
        return max(site.worst_quantile for site in self.sites.values())

    @property
    def worst_sites(self) -> list[str]:
        """Sites whose mean is off by more than a tenth of an sd, or whose sd by more than a tenth; worst first."""

        def badness(name):
            return max(self.sites[name].worst_mean, abs(np.log(self.sites[name].worst_sd)))

        return sorted((name for name in self.sites if badness(name) > 0.1), key=badness, reverse=True)

    def to_dict(self) -> dict:
        sites = {
            name: {
                "mean_error": e.mean_error.tolist(),
                "sd_ratio": e.sd_ratio.tolist(),
                "quantile_errors": e.quantile_errors.tolist(),
                "noise": e.noise,
            }
            for name, e in self.sites.items()
        }
        return {"sites": sites, "correlation": self.correlation, "against": self.against}


def summarise(values: np.ndarray, weights: np.ndarray | None = None) -> Summary:
    """Of draws along the first axis, with normalised weights where they are not alike."""
    if weights is None:
        quantiles = np.quantile(values, PROBABILITIES, axis=0)
        return Summary(values.mean(axis=0), values.std(axis=0, ddof=1), quantiles)
    mean = np.tensordot(weights, values, axes=1)
    sd = np.sqrt(np.tensordot(weights, (values - mean) ** 2, axes=1))
    return Summary(mean, sd, weighted_quantiles(values, weights))


def weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of every entry, at PROBABILITIES: the draw below which that much of the weight lies."""
    flat = values.reshape(len(values), -1)
    result = np.empty((len(PROBABILITIES), flat.shape[1]))
    for i, column in enumerate(flat.T):
        order = np.argsort(column)
        reached = np.cumsum(weights[order]) - weights[order] / 2
        result[:, i] = np.interp(PROBABILITIES, reached, column[order])
    return result.reshape(len(PROBABILITIES), *values.shape[1:])


def correlations(sites: dict[str, np.ndarray], weights: np.ndarray | None = None) -> np.ndarray | None:
    """Between all entries of all sites; None where they are too many."""
    flat = np.concatenate([x.reshape(len(x), -1) for x in sites.values()], axis=1)
    if flat.shape[1] > MOST_CORRELATIONS:
        return None
    covariance = np.atleast_2d(np.cov(flat, rowvar=False, aweights=weights))
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)


def reference_from_truth(target: Target, truth: Truth, draws) -> Reference:
    """Means and sds as the truth has them; quantiles and correlations from its draws."""
    sites = constrain_in_chunks(target, draws.z)
    summaries, noise = {}, {}
    for name, x in sites.items():
        exact = truth.moments[name]
        summaries[name] = Summary(np.asarray(exact.mean), np.asarray(exact.sd), np.quantile(x, PROBABILITIES, axis=0))
        noise[name] = exact.error
    return Reference(summaries, correlations(sites), noise, truth.source)


def reference_from_weights(sites: dict[str, np.ndarray], weights: np.ndarray) -> Reference:
    """q's own draws, reweighted: trustworthy only as far as the weights are."""
    noise = {name: float(np.sqrt(np.sum(weights**2))) for name in sites}
    summaries = {name: summarise(x, weights) for name, x in sites.items()}
    return Reference(summaries, correlations(sites, weights), noise, "q's draws with importance weights")


def errors(sites: dict[str, np.ndarray], reference: Reference, weights: np.ndarray | None = None) -> Errors:
    """Of averages over draws {site: (n, ...)}, with normalised weights or without.

    Entries whose posterior sd is zero (the first entry of a Cholesky factor of a correlation) have no unit to be
    measured in, and no error.
    """
    own_noise = 1 / np.sqrt(len(next(iter(sites.values())))) if weights is None else np.sqrt(np.sum(weights**2))
    result = {}
    for name, x in sites.items():
        q, p = summarise(x, weights), reference.summaries[name]
        sd = np.where(p.sd > 0, p.sd, np.inf)
        result[name] = SiteErrors(
            (q.mean - p.mean) / sd,
            np.where(p.sd > 0, q.sd / sd, 1.0),
            (q.quantiles - p.quantiles) / sd,
            float(np.hypot(own_noise, reference.noise[name])),
        )
    return Errors(result, correlation_error(correlations(sites, weights), reference.correlation), reference.source)


def correlation_error(q: np.ndarray | None, p: np.ndarray | None) -> float:
    """The largest difference; NaN where correlations are not compared, or there is only one entry."""
    if q is None or p is None or len(q) < 2:
        return float("nan")
    return float(np.nanmax(np.abs(q - p)))
