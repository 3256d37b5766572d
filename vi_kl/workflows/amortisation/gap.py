"""`amortisation_gap`: the encoder's q of some rows beside the best q of each.

    log evidence of a row = ELBO of the encoder's q + amortisation gap + approximation gap

The best q of a row is fitted to that row's posterior, at the parameters that were learned. What it lacks of the
evidence is the approximation gap, which no encoder can mend; what the encoder lacks of the best q is the amortisation
gap. Evidences and distances are those of certificates (`vi_kl.check`), by importance weights, with their limits.

Reference: Cremer, Li & Duvenaud (2018), "Inference suboptimality in variational autoencoders".
"""

from collections.abc import Sequence

import jax
import numpy as np
import numpyro.distributions as dist

from vi_kl.algorithms.algorithm import Algorithm, Fit
from vi_kl.algorithms.fitting import choose_algorithm
from vi_kl.algorithms.method import MethodLike
from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import as_key, numpy_generator
from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.families.approximation import Approximation, site_distributions
from vi_kl.workflows.amortisation.encode import encoder_of
from vi_kl.workflows.amortisation.record import Amortisation, RowGap
from vi_kl.workflows.amortisation.rows import Encoder, elbos, sum_of

DRAWS = 2_000  # of each q of a row


@in_float64
def amortisation_gap(
    fit: Fit | Approximation,
    rows: int | Sequence[int] = 8,
    *,
    key: KeyLike,
    method: MethodLike | None = None,
    num_draws: int = DRAWS,
    progress: ProgressLike = None,
) -> Amortisation:
    """Measure what it costs that one encoder makes the q of every row.

    Args:
        fit: the fit of a guide that draws each row's latent variables from that row (an encoder).
        rows: the numbers of the rows to look at one by one, or how many to draw at random.
        key: a JAX random key, or an integer.
        method: how each row's own best q is found, as `fit` takes it. The default is the family from which the encoder
            draws: independent normals, or a normal with any covariance.
        num_draws: the number of draws of each q by which it is weighed.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        The Amortisation, with the ELBO over all rows, and the gaps of those that were looked at, with what they mean.

    Raises:
        UnsuitableError: the guide is no encoder, or draws from no normal while no method is given.
        ValueError: a row is none of the plate's.
    """
    q, keys = encoder_of(fit, "amortisation_gap"), jax.random.split(as_key(key), 3)
    num_draws = whole_number("num_draws", num_draws, at_least=500)
    encoder = Encoder.of(q)
    chosen = chosen_rows(rows, encoder.num_rows, keys[0])
    algorithm = choose_algorithm(encoder.target, family_of(encoder) if method is None else method)
    with reporting(progress, f"amortisation of {q.name}") as report:
        means, errors = elbos(encoder, keys[1], 16, part_of(report, 0.0, 0.2))
        part = part_of(report, 0.2, 1.0)
        gaps = [
            gap_of(encoder, row, algorithm, jax.random.fold_in(keys[2], row), num_draws, part, i / len(chosen))
            for i, row in enumerate(chosen)
        ]
    return Amortisation(q.name, algorithm.name, sum_of(means, errors, 16), encoder.num_rows, tuple(gaps), means)


def chosen_rows(rows: int | Sequence[int], num_rows: int, key: jax.Array) -> list[int]:
    """Return the numbers of the rows to look at."""
    if np.ndim(rows) == 0:
        n = min(whole_number("rows", rows, at_least=1), num_rows)
        return sorted(numpy_generator(key).choice(num_rows, n, replace=False).tolist())
    chosen = [whole_number("a row", row, at_least=0) for row in np.asarray(rows).tolist()]
    if not chosen or max(chosen) >= num_rows:
        raise ValueError(f"rows must name some of the {num_rows:,} rows by their numbers, from 0 on; got {rows}.")
    return chosen


def family_of(encoder: Encoder) -> str:
    """Return the name of the family from which an encoder draws.

    Raises:
        UnsuitableError: it draws from no normal, or its sites depend on one another.
    """
    found = site_distributions(encoder.approximation(0))
    kinds = [innermost(fn) for fn in (found or {}).values()]
    if kinds and all(isinstance(kind, dist.Normal | dist.LogNormal) for kind in kinds):
        return "mean_field"
    if len(kinds) == 1 and isinstance(kinds[0], dist.MultivariateNormal):
        return "full_rank"
    names = ", ".join(type(kind).__name__ for kind in kinds) or "sites that depend on one another"
    raise UnsuitableError(
        f"The encoder '{encoder.family.name}' draws from {names}, so say by what method each row's own best q is to be "
        f"found: amortisation_gap(fit, method='full_rank', key=key)."
    )


def innermost(fn: dist.Distribution) -> dist.Distribution:
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution):
        fn = fn.base_dist
    return fn


def gap_of(
    encoder: Encoder, row: int, algorithm: Algorithm, key: jax.Array, n: int, report: Progress, done: float
) -> RowGap:
    """Fit one row's own best q, and weigh it and the encoder's."""
    report(done, f"row {row}")
    keys = jax.random.split(key, 3)
    # from the encoder's q: a search from elsewhere may end at a lesser mode, where its best is worse than what is known
    best = algorithm.fit(keys[0], encoder.posterior(row), start=encoder.approximation(row), progress=False)
    of_best = check(best, key=keys[1], num_draws=n, progress=False)
    of_encoder = check(encoder.approximation(row), key=keys[2], num_draws=n, progress=False)
    known = [c.log_evidence for c in (of_best, of_encoder) if c.log_evidence is not None]
    return RowGap(
        row=row,
        log_evidence=min(known, key=lambda estimate: estimate.standard_error) if known else None,
        evidence_limits=of_best.evidence_limits,
        best=of_best.elbo,
        encoded=of_encoder.elbo,
        approximation_gap=of_best.reverse_kl,
        amortisation_gap=difference(of_best, of_encoder),
        k_hat=of_best.k_hat,
        converged=best.status.converged,
    )


def difference(best: Certificate, encoded: Certificate) -> Estimate:
    """Return what the encoder's q loses against the best one, by whichever figures are the more precise."""
    by_elbo = best.elbo.minus(encoded.elbo, "difference of ELBOs")
    if best.reverse_kl is None or encoded.reverse_kl is None:
        return by_elbo
    by_kl = encoded.reverse_kl.minus(best.reverse_kl, "difference of KL")
    return min((by_elbo, by_kl), key=lambda estimate: estimate.standard_error)
