"""The model's parameters under the approximation that a comparison recommends, as a section of its page."""

import dataclasses

from vi_kl.core.annotations import KeyLike
from vi_kl.report.pages import Section
from vi_kl.report.tables import Table, readable
from vi_kl.workflows.comparison import Comparison
from vi_kl.workflows.recommendation import chosen

MOST_ROWS = 40  # entries that a page has room for

MEANINGS = {
    "parameter": "An entry of a site of the model, latent ones before those that it computes.",
    "mean": "The mean under the approximation.",
    "sd": "The standard deviation under the approximation.",
    "mean error [sd]": "How far that mean is off, in sds of the posterior, by the certificate.",
    "sd ratio": "That sd divided by the posterior's, by the certificate.",
}
# beside the columns of the same names in the table of the approximations, which are of the worst entry
TITLES = {"mean error [sd]": "error of the mean [sd]", "sd ratio": "sd / posterior sd"}


def parameters_section(comparison: Comparison, key: KeyLike) -> Section:
    """Return the table of means, sds and quantiles, with what the certificate knows of their errors.

    Args:
        comparison: a comparison of one approximation or more.
        key: a JAX random key, or an integer, for the draws.
    """
    name, fit, certificate = chosen(comparison.fits, comparison.certificates, comparison.ranking)
    summary = fit.summary(key, certificate=dataclasses.replace(certificate, name=fit.name))  # two may have one name
    frame, left_out = summary.shown(MOST_ROWS)
    rows = tuple((str(entry), *map(str, row)) for entry, row in zip(frame.index, frame.to_numpy(), strict=True))
    columns = ("parameter", *map(str, frame.columns))
    meanings = tuple(MEANINGS.get(column, f"The {column} quantile under the approximation.") for column in columns)
    words = f"As {readable(name)} has them."
    if left_out:
        words += f" {left_out} Of {len(summary.names):,} entries, fit.summary(key) has them all."
    table = Table(tuple(TITLES.get(column, column) for column in columns), rows, meanings)
    return Section("What the parameters are", (words,), (table,))
