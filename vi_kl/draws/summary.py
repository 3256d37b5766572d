"""Summary: mean, sd and quantiles of every entry of every site, with the certificate's doubt beside them."""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vi_kl.core.records import Readable, plain
from vi_kl.core.written_numbers import at_place, exponent, significant
from vi_kl.draws import excerpt
from vi_kl.draws.labels import Labels
from vi_kl.draws.target_draws import TargetDraws

if TYPE_CHECKING:
    import pandas as pd

PROBABILITIES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True, repr=False)
class Summary(Readable):
    """A table of means, sds and quantiles, one row for each entry of each site.

    Attributes:
        source: the draws that were summarised, in words.
        names: a name for each row: `mu`, `theta[Choate]`.
        mean: the mean of each row.
        sd: the sd of each row.
        probabilities: the probabilities of the quantiles.
        quantiles: the quantiles of each row, (rows, probabilities).
        error: the standard error of each mean, which is that of taking so many draws, and not of the approximation.
        mean_error: how far the mean is off, in sds of the posterior, by the certificate; None without one, NaN for rows
            that it does not judge.
        sd_ratio: the sd divided by the posterior's, by the certificate; likewise.
        notes: what the certificate says, and whatever else must not be missed, a sentence each.
        computed: the names of the sites that the model computes from others; where they are long they are not printed.
    """

    source: str
    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    probabilities: tuple[float, ...]
    quantiles: np.ndarray
    error: np.ndarray
    mean_error: np.ndarray | None = None
    sd_ratio: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The source, and the number of rows."""
        return f"{len(self.names)} rows of {self.source}"

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a table with one row for each entry of each site, in full precision."""
        import pandas as pd  # half a second that fitting need not wait for

        columns = {"mean": self.mean, "sd": self.sd}
        columns |= {percent(p): self.quantiles[:, i] for i, p in enumerate(self.probabilities)}
        columns["standard error"] = self.error
        if self.mean_error is not None and self.sd_ratio is not None:
            columns |= {"mean error [sd]": self.mean_error, "sd ratio": self.sd_ratio}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="site"))

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON."""
        return plain(self)

    def written(self) -> "pd.DataFrame":
        """Return the table as people read it, without the digits that the number of draws leaves open."""
        table = self.to_dataframe()
        places = [decimals(error, sd) for error, sd in zip(self.error, self.sd, strict=True)]
        for name in ["mean", "sd", *map(percent, self.probabilities)]:
            table[name] = [
                at_place(x, place) if math.isfinite(x) else str(x) for x, place in zip(table[name], places, strict=True)
            ]
        for name in table.columns[len(self.probabilities) + 3 :]:
            table[name] = [
                "-" if math.isnan(x) else f"{x:z.2f}" if abs(x) < 1e3 else significant(x) for x in table[name]
            ]
        return table.drop(columns="standard error")

    def shown(self, most: int = excerpt.MOST_ROWS) -> "tuple[pd.DataFrame, str]":
        """Return the rows of `written` that a table has room for, and in words what is left out; "" if nothing is."""
        places = excerpt.shown(self.names, self.computed, most)
        return self.written().iloc[places], excerpt.in_words(self.names, places, self.mean, self.sd)

    def paragraphs(self, left_out: str) -> list[str]:
        """Return what is said below a table: what it does not show, and the notes."""
        more = f"{left_out} summary.to_dataframe() has all {len(self.names):,} rows."
        return [*([more] if left_out else []), *self.notes]

    def __str__(self):
        table, left_out = self.shown()
        text = table.to_string(index_names=False)
        return "\n".join([self.source[:1].upper() + self.source[1:], text, *self.paragraphs(left_out)])

    def _repr_html_(self):
        frame, left_out = self.shown()
        table = frame.to_html(index_names=False, max_rows=len(frame))
        words = [self.source[:1].upper() + self.source[1:], *self.paragraphs(left_out)]
        return f"<p>{html.escape(words[0])}</p>{table}" + "".join(f"<p>{html.escape(line)}</p>" for line in words[1:])


def summarise(
    draws: TargetDraws,
    labels: Labels,
    sites: Mapping[str, np.ndarray],
    probabilities: Sequence[float],
    certificate: Any,
) -> Summary:
    """Summarise the draws of these sites, {site: (n, ...)}.

    Args:
        draws: the draws.
        labels: the names of the sites' axes and entries.
        sites: the sites to summarise.
        probabilities: the probabilities of the quantiles.
        certificate: a Certificate of what the draws are of, or None.

    Raises:
        ValueError: a probability is none, or the certificate is of something else.
    """
    probabilities = tuple(float(p) for p in probabilities)
    if not all(0 <= p <= 1 for p in probabilities):
        raise ValueError(f"probabilities must lie between 0 and 1, got {probabilities}.")
    notes = list(draws.notes)
    if certificate is not None:
        require_certificate_of(draws, certificate)
        notes += doubts(certificate)
    flat = {name: np.asarray(x, float).reshape(len(x), -1) for name, x in sites.items()}
    columns = np.concatenate(list(flat.values()), axis=1)
    sd = columns.std(axis=0, ddof=1) if len(columns) > 1 else np.zeros(columns.shape[1])
    mean_error, sd_ratio = (None, None) if certificate is None else errors_of(certificate, sites)
    return Summary(
        source_in_words(draws),
        tuple(label for name, x in sites.items() for label in labels.elements(name, x.shape[1:])),
        columns.mean(axis=0),
        sd,
        probabilities,
        np.quantile(columns, probabilities, axis=0).T.reshape(columns.shape[1], len(probabilities)),
        sd / np.sqrt(effective_numbers(draws, columns)),
        mean_error,
        sd_ratio,
        tuple(notes),
        tuple(name for name in sites if name not in draws.target.site_names),
    )


def source_in_words(draws: TargetDraws) -> str:
    chains = f" of {len(draws.chains)} chains" if len(draws.chains) > 1 else ""
    return f"{draws.method}: {len(draws):,} draws{chains}"


def effective_numbers(draws: TargetDraws, columns: np.ndarray) -> np.ndarray:
    """Return how many independent draws would give the mean of each column the same error."""
    if draws.independent:
        return np.full(columns.shape[1], float(len(columns)))
    from arviz_stats.base import array_stats  # imported here, as it takes seconds

    numbers = np.full(columns.shape[1], float(len(columns)))
    varies = np.ptp(columns, axis=0) > 0
    if varies.any():
        chains = columns[:, varies].reshape(*draws.chains.shape[:2], -1)
        numbers[varies] = np.atleast_1d(array_stats.ess(np.moveaxis(chains, -1, 0), method="mean"))
    return numbers


def require_certificate_of(draws: TargetDraws, certificate: Any) -> None:
    """Raise an error unless a certificate is one, of the approximation that the draws are of."""
    if not hasattr(certificate, "cannot_see"):
        raise TypeError(
            f"certificate must be a Certificate, as vi_kl.check(fit, key=key) makes it, not a "
            f"{type(certificate).__name__}."
        )
    if draws.log_q is not None and certificate.name != draws.name:
        raise ValueError(f"The certificate is of {certificate.name}, and the draws are of {draws.name}.")


def doubts(certificate: Any) -> list[str]:
    """Return what a certificate says of the distance to the posterior, and what it cannot see."""
    return [f"{certificate.label}: {certificate.verdict}", f"It cannot see: {certificate.cannot_see}"]


def errors_of(certificate: Any, sites: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the error of the mean and the ratio of the sds of each row; NaN where the certificate knows none."""
    known = certificate.errors.sites if certificate.errors is not None else {}
    means, ratios = [], []
    for name, x in sites.items():
        shape = x.shape[1:]
        unknown = np.full(shape, np.nan)
        means.append(np.ravel(known[name].mean_error if name in known else unknown))
        ratios.append(np.ravel(known[name].sd_ratio if name in known else unknown))
    return np.concatenate(means), np.concatenate(ratios)


def percent(probability: float) -> str:
    return f"{significant(100 * probability, 3, zeros=False)}%"


def decimals(error: float, sd: float) -> int:
    """Return the decimal place to which the number of draws determines a mean."""
    if not (math.isfinite(error) and error > 0):
        return 4
    return -exponent(error) if math.isfinite(sd) else 4
