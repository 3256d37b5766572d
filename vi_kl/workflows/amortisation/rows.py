"""The ELBO of an encoder row by row, in blocks: memory does not grow with the rows, but for one number of each."""

from typing import NamedTuple

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key
from vi_kl.families.approximation import Approximation
from vi_kl.families.guide import Guide, guide_of_rows
from vi_kl.objectives.draws import log_p_at
from vi_kl.targets.numpyro.new_data import plate_of_rows, posterior_of_rows, with_row
from vi_kl.targets.target import Target
from vi_kl.workflows.amortisation.encode import encoder_of

BLOCK = 256  # rows at once
FEW = 1_500  # rows: below, optimising a program costs more than it saves in all of its blocks


class Encoder(NamedTuple):
    """An encoder's q of single rows.

    Attributes:
        params: the encoder's parameters.
        family: the family that it spans for one row.
        target: the posterior of the first row, at the parameters that were learned.
        num_rows: the number of rows.
    """

    params: object
    family: Guide
    target: Target
    num_rows: int

    @classmethod
    def of(cls, q: Approximation) -> "Encoder":
        """Return the encoder that an approximation is."""
        plate = plate_of_rows(q.target, "An encoder")
        one = posterior_of_rows(q.target, {plate.name: np.zeros(1, int)})
        assert isinstance(q.family, Guide)
        return cls(q.params, guide_of_rows(q.family, q.target, one), one, plate.size)

    def posterior(self, row: int) -> Target:
        """Return the posterior of one row."""
        return with_row(self.target, np.array([row]))

    def approximation(self, row: int) -> Approximation:
        """Return the encoder's q of one row."""
        return Approximation(self.family, self.params, self.posterior(row))


@in_float64
def elbo_by_row(
    fit: Fit | Approximation, *, key: KeyLike, num_draws: int = 16, progress: ProgressLike = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ELBO of each row of an encoder's fit, and its standard error, (rows,) each, in nats.

    Their sum is the ELBO of the fit. A row with a low one is a row that the model or the encoder does not fit.

    Args:
        fit: the fit of a guide that draws each row's latent variables from that row (an encoder).
        key: a JAX random key, or an integer.
        num_draws: the number of draws of each row's q, at least 2.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Raises:
        UnsuitableError: the guide is no encoder: the message says what it lacks.
    """
    q, key = encoder_of(fit, "elbo_by_row"), as_key(key)
    n = whole_number("num_draws", num_draws, at_least=2)
    with reporting(progress, "ELBO of all rows") as report:
        return elbos(Encoder.of(q), key, n, report)


def elbos(encoder: Encoder, key, n: int, report: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return the ELBO of each row and its standard error, a block of rows at a time."""
    total, size = encoder.num_rows, min(BLOCK, encoder.num_rows)
    means, errors = np.empty(total), np.empty(total)
    for first in range(0, total, size):
        begin = min(first, total - size)  # the last block begins earlier: all have one size, and one program
        rows = np.arange(begin, begin + size)
        found = np.asarray(log_ratios(encoder.params, encoder.target, rows[:, None], key, encoder.family, n))
        means[rows], errors[rows] = found.mean(axis=1), found.std(axis=1, ddof=1) / np.sqrt(n)
        report((begin + size) / total, f"{begin + size:,} of {total:,} rows")
    return means, errors


def sum_of(means: np.ndarray, errors: np.ndarray, n: int) -> Estimate:
    """Return the ELBO of all rows together."""
    method = f"Monte Carlo, {n} draws of q for each of {len(means):,} rows"
    return Estimate(means.sum(), np.sqrt(np.sum(errors**2)), method, num_draws=n * len(means))


def are_few(params, target: Target, *_) -> bool:
    """Return whether a target has so few rows that a program that goes through them is better left unoptimised."""
    return all(np.shape(leaf)[0] < FEW for leaf in jax.tree.leaves(target.data) if np.ndim(leaf))


@compiled(static=("family", "n"), unoptimized=are_few)
def log_ratios(params, target: Target, rows, key, family: Guide, n: int):
    """Return log p(row, z) - log q(z | row) at n draws of each row's q, (rows, n)."""

    def one(row):
        of_row = with_row(target, row)
        z, log_q = family.sample_and_log_prob(params, of_row, jax.random.fold_in(key, row[0]), n)
        return log_p_at(of_row, z) - log_q

    return jax.vmap(one)(rows)
