"""Errors of averages under q, in the model's own space and in units of the posterior sd.

They are computed for q's draws as they are, and again with importance weights, which shows what reweighting mends.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
from scipy.special import ndtri

from vi_kl.core.records import WORKING, plain, store
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.targets.target import Target, constrain_in_chunks

PROBABILITIES = (0.05, 0.5, 0.95)
NORMAL_RANGE = float(ndtri(0.95) - ndtri(0.05))  # the distance between a normal's 5 and 95% quantiles, in sds
MOST_CORRELATIONS = 300  # entries whose correlations are compared; more are a matrix nobody reads
SMALL = 0.1  # the largest error of a mean, in posterior sds, or of the log of an sd, that is not worth mentioning
STANDARD_ERRORS = 3.0  # the number of its standard errors by which an error has to exceed SMALL
ROUNDING = 1e-7  # the largest sd, relative to an entry's magnitude, that counts as zero
TINY = np.finfo(float).tiny


@dataclasses.dataclass(frozen=True)
class Summary:
    """The mean, sd and quantiles (at PROBABILITIES, leading axis) of one site."""

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray


@dataclasses.dataclass(frozen=True)
class SiteErrors:
    """The errors of q's averages at one site, entry by entry.

    The first two are NaN where the posterior has no mean or no variance, and 0 and 1 where it does not vary.

    Attributes:
        mean_error: (mean under q - posterior mean) / posterior sd.
        sd_ratio: sd under q / posterior sd; it is below 1 where q is too certain.
        quantile_errors: (quantile under q - posterior quantile) / posterior sd at 5, 50 and 95%, leading axis 3. Where
            the posterior has no sd, the unit is the distance between its 5 and 95% quantiles divided by 3.29, which
            is the sd of a normal.
        own_noise: the Monte-Carlo standard error of a mean under q, in q's sds.
        reference_noise: the standard error of a mean of the reference, in posterior sds.
        noise: the largest standard error of a mean_error; that of a quantile error is up to about twice as large.
        is_off: whether a mean or the log of an sd is off by more than SMALL plus STANDARD_ERRORS of its standard
            errors.
    """

    mean_error: np.ndarray
    sd_ratio: np.ndarray
    quantile_errors: np.ndarray
    own_noise: float = dataclasses.field(metadata=WORKING)
    reference_noise: float = dataclasses.field(metadata=WORKING)
    noise: float = dataclasses.field(init=False, repr=False)
    is_off: bool = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        mean = np.abs(self.mean_error) > SMALL + STANDARD_ERRORS * self.mean_noise
        sd = np.abs(np.log(self.sd_ratio)) > SMALL + STANDARD_ERRORS * self.log_sd_noise
        store(self, noise=largest(self.mean_noise), is_off=bool(np.any(mean | sd)))

    @property
    def mean_noise(self) -> np.ndarray:
        """The standard error of each mean_error."""
        return np.hypot(self.own_noise * self.sd_ratio, self.reference_noise)

    @property
    def log_sd_noise(self) -> float:
        """A rough standard error of the log of each sd_ratio: too large for normals, too small for heavy tails."""
        return math.hypot(self.own_noise, self.reference_noise)

    @property
    def worst_mean(self) -> float:
        """The largest absolute error of a mean, in posterior sds."""
        return largest(np.abs(self.mean_error))

    @property
    def worst_sd(self) -> float:
        """The sd ratio farthest from 1, on the log scale."""
        return farthest_from_one(self.sd_ratio)

    @property
    def worst_quantile(self) -> float:
        """The largest absolute error of a quantile, in posterior sds."""
        return largest(np.abs(self.quantile_errors))

    @property
    def badness(self) -> float:
        """The larger of the worst mean's error in sds and the worst sd's log ratio; NaN where neither is known."""
        return largest([self.worst_mean, abs(math.log(self.worst_sd))])

    @property
    def lacks_moments(self) -> bool:
        """Whether the posterior has no mean or no variance at an entry, so that only its quantiles are compared."""
        return bool(np.isnan(self.mean_error).any())


@dataclasses.dataclass(frozen=True)
class ReferenceSummary:
    """The averages with which q's are compared.

    Attributes:
        summaries: the posterior's averages, {site: Summary}.
        correlation: the correlation matrix of all entries of all sites, or None if they are too many.
        noise: the standard error of each site's means, {site: posterior sds}.
        source: the origin of the averages, in words.
    """

    summaries: dict[str, Summary]
    correlation: np.ndarray | None
    noise: dict[str, float]
    source: str


@dataclasses.dataclass(frozen=True)
class Errors:
    """The errors of q's averages at all sites, against one reference.

    Attributes:
        sites: the errors of each site, {site: SiteErrors}.
        correlation: the largest error of a correlation between two entries of the model's latent sites.
        against: what q is compared with, in words.
        without_moments: sites where the posterior of some entry has no mean or no variance, so that only its quantiles
            are compared.
    """

    sites: dict[str, SiteErrors]
    correlation: float
    against: str
    without_moments: list[str] = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        store(self, without_moments=[name for name, site in self.sites.items() if site.lacks_moments])

    @property
    def worst_mean(self) -> float:
        """The largest absolute error of a mean, in posterior sds; NaN if no entry has a mean to compare."""
        return largest([site.worst_mean for site in self.sites.values()])

    @property
    def worst_sd(self) -> float:
        """The sd ratio farthest from 1, on the log scale; NaN if no entry has an sd to compare."""
        return farthest_from_one([site.worst_sd for site in self.sites.values()])

    @property
    def worst_quantile(self) -> float:
        """The largest absolute error of a quantile, in posterior sds; NaN if no entry can be compared."""
        return largest([site.worst_quantile for site in self.sites.values()])

    @property
    def notable(self) -> bool:
        """Whether any site is off by more than SMALL plus its noise."""
        return any(site.is_off for site in self.sites.values())

    @property
    def worst_sites(self) -> list[str]:
        """Sites that are off by more than SMALL plus their noise, the worst first."""
        off = [name for name, site in self.sites.items() if site.is_off]
        return sorted(off, key=lambda name: self.sites[name].badness, reverse=True)

    def to_dict(self) -> dict:
        """Return the record as plain numbers, with None in place of NaN and infinity."""
        return plain(self)


def largest(values: Iterable[float] | np.ndarray) -> float:
    """Return the largest value that is not NaN; NaN if there is none."""
    values = np.ravel(values)
    values = values[~np.isnan(values)]
    return float(values.max()) if len(values) else math.nan


def farthest_from_one(ratios: Iterable[float] | np.ndarray) -> float:
    """Return the positive ratio that is farthest from 1 on the log scale; NaN if all are NaN."""
    ratios = np.ravel(ratios)
    ratios = ratios[~np.isnan(ratios)]
    return float(ratios[np.argmax(np.abs(np.log(ratios)))]) if len(ratios) else math.nan


def varies(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return whether entries vary by more than rounding, which those without a mean or a variance do."""
    unknown = ~(np.isfinite(mean) & np.isfinite(sd))
    return unknown | (sd > ROUNDING * np.maximum(np.abs(mean), TINY))


def summarise(values: np.ndarray, weights: np.ndarray | None = None) -> Summary:
    """Summarise draws along the first axis, with normalised weights or with equal ones."""
    if weights is None:
        quantiles = np.quantile(values, PROBABILITIES, axis=0)
        return Summary(values.mean(axis=0), values.std(axis=0, ddof=1), quantiles)
    mean = np.tensordot(weights, values, axes=1)
    sd = np.sqrt(np.tensordot(weights, (values - mean) ** 2, axes=1))
    return Summary(mean, sd, weighted_quantiles(values, weights))


def weighted_quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted quantiles of every entry at PROBABILITIES, which are the leading axis."""
    flat = values.reshape(len(values), -1)
    result = np.empty((len(PROBABILITIES), flat.shape[1]))
    for i, column in enumerate(flat.T):
        order = np.argsort(column)
        reached = np.cumsum(weights[order]) - weights[order] / 2
        result[:, i] = np.interp(PROBABILITIES, reached, column[order])
    return result.reshape(len(PROBABILITIES), *values.shape[1:])


def correlations(sites: dict[str, np.ndarray], weights: np.ndarray | None = None) -> np.ndarray | None:
    """Return the correlations between all entries of all sites; None if the entries are too many.

    Entries that do not vary have NaN.
    """
    flat = np.concatenate([x.reshape(len(x), -1) for x in sites.values()], axis=1)
    if flat.shape[1] > MOST_CORRELATIONS:
        return None
    covariance = np.atleast_2d(np.cov(flat, rowvar=False, aweights=weights, ddof=0))
    sd = np.sqrt(np.diag(covariance))
    sd = np.where(varies(np.average(flat, axis=0, weights=weights), sd), sd, np.nan)
    return covariance / np.outer(sd, sd)


def summary_of_reference(target: Target, reference: ReferencePosterior, draws) -> ReferenceSummary:
    """Return the reference's means and sds, and quantiles and correlations from its draws.

    Draws have sample moments, and quadrature has finite sums, even where the posterior has no moments. An infinite
    standard error marks moments that may not exist.
    """
    sites = constrain_in_chunks(target, draws.z)
    summaries, noise = {}, {}
    for name, x in sites.items():
        exact = reference.moments[name]
        mean, sd = np.asarray(exact.mean, float), np.asarray(exact.sd, float)
        if exact.error == np.inf and varies(mean, sd).all():
            sd = np.full_like(sd, np.inf)
        summaries[name] = Summary(mean, sd, np.quantile(x, PROBABILITIES, axis=0))
        # 0 / 0 at an entry that does not vary says nothing of the others; the draws bound the error
        noise[name] = 1 / np.sqrt(len(draws)) if np.isnan(exact.error) else exact.error
    return ReferenceSummary(summaries, without(correlations(sites), summaries), noise, reference.source)


def without(correlation: np.ndarray | None, summaries: dict[str, Summary]) -> np.ndarray | None:
    """Return correlations with NaN for entries that have no mean or no variance, and so no correlation."""
    if correlation is None:
        return None
    known = np.concatenate([np.ravel(has_moments(p)) for p in summaries.values()])
    return np.where(np.logical_and.outer(known, known), correlation, np.nan)


def summary_from_weights(sites: dict[str, np.ndarray], weights: np.ndarray) -> ReferenceSummary:
    """Summarise the posterior by weighted draws; the averages are as reliable as the weights."""
    noise = {name: float(np.sqrt(np.sum(weights**2))) for name in sites}
    summaries = {name: summarise(x, weights) for name, x in sites.items()}
    return ReferenceSummary(summaries, correlations(sites, weights), noise, "q's draws with importance weights")


def errors(sites: dict[str, np.ndarray], reference: ReferenceSummary, weights: np.ndarray | None = None) -> Errors:
    """Return the errors of averages over draws {site: (n, ...)}, with normalised weights or with equal ones.

    Entries at which the posterior does not vary (the first of a Cholesky factor of a correlation matrix) have no unit
    to be measured in, and no error. Entries whose posterior has no mean or no variance have no unit either: their
    errors are NaN.
    """
    own_noise = 1 / np.sqrt(len(next(iter(sites.values())))) if weights is None else np.sqrt(np.sum(weights**2))
    result = {
        name: site_errors(summarise(x, weights), reference.summaries[name], float(own_noise), reference.noise[name])
        for name, x in sites.items()
    }
    return Errors(result, correlation_error(correlations(sites, weights), reference.correlation), reference.source)


def site_errors(q: Summary, p: Summary, own_noise: float, reference_noise: float) -> SiteErrors:
    """Compare q's averages at one site with the posterior's."""
    known, constant = has_moments(p), ~varies(p.mean, p.sd)
    sd = np.where(constant, 1.0, np.where(known, p.sd, np.nan))
    spread = np.where(known, p.sd, (p.quantiles[-1] - p.quantiles[0]) / NORMAL_RANGE)
    unit = np.where(constant | (spread == 0), np.inf, spread)
    # moments of q that overflow are infinitely far off; the ratio of a q without any width still has a logarithm
    mean_error = np.where(known, infinite_if_nan(q.mean - p.mean), np.nan) / sd
    ratio = np.maximum(np.where(known, infinite_if_nan(q.sd), np.nan) / sd, TINY)
    return SiteErrors(
        np.where(constant, 0.0, mean_error),
        np.where(constant, 1.0, ratio),
        (q.quantiles - p.quantiles) / unit,
        own_noise,
        float(reference_noise),
    )


def has_moments(p: Summary) -> np.ndarray:
    """Return which entries have a finite mean and a finite sd."""
    return np.isfinite(p.mean) & np.isfinite(p.sd)


def infinite_if_nan(x: np.ndarray) -> np.ndarray:
    """Return values with NaN replaced by infinity."""
    return np.where(np.isnan(x), np.inf, x)


def correlation_error(q: np.ndarray | None, p: np.ndarray | None) -> float:
    """Return the largest difference; NaN if correlations are not compared, or fewer than two entries have any."""
    if q is None or p is None:
        return math.nan
    return largest(np.abs(q - p)[~np.eye(len(q), dtype=bool)])
