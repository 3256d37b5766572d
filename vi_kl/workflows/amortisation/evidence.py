"""`evidence_by_row`: the log evidence of each row by importance weights, and a limit that holds whatever their tails.

An encoder's own draws make uneven weights wherever its q is too narrow, above all for rows that it was not fitted to.
So each row has a second proposal beside q: a Student t with the moments of the row's posterior, as far as the weighted
draws of earlier rounds tell them. The last round draws anew from a mixture of both that is fixed by then, and so the
mean of its weights is the evidence, and a lower limit by betting holds (`vi_kl.diagnostics.limits`).

References: Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", for the evidence of held-out rows;
Cappe, Guillin, Marin & Robert (2004), "Population Monte Carlo", for the rounds.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.special import logsumexp

from vi_kl.algorithms.algorithm import Fit
from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.core.languages import check_language, speaking
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import reporting
from vi_kl.core.random_keys import as_key, numpy_generator
from vi_kl.core.records import WORKING, Readable, plain
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.evidence_bounds import Limits
from vi_kl.diagnostics.importance import effective_share, relative_weights, smoothed_weights
from vi_kl.diagnostics.limits import log_lower_limit
from vi_kl.diagnostics.psis import RELIABLE, pareto_k
from vi_kl.families.approximation import Approximation
from vi_kl.families.guide import Guide
from vi_kl.objectives.draws import log_p_at, log_q_at
from vi_kl.targets.numpyro.new_data import with_row
from vi_kl.targets.target import Target
from vi_kl.workflows.amortisation.encode import encoder_of
from vi_kl.workflows.amortisation.rows import Encoder, are_few
from vi_kl.workflows.amortisation.words import say

AT_ONCE = 40_000  # draws of all rows of a block: memory does not grow with the rows
ROUNDS = 4  # that look for the other proposals
SHARE_OF_Q = 0.2  # of the mixture
SCALES = (1.0, 1.0, 3.0, *8 * [0.5])  # of the Student t's: those of 1 and more lie at the mean
DEGREES = 5.0  # of freedom of the Student t


@dataclasses.dataclass(frozen=True, repr=False)
class RowEvidence(Readable):
    """A record of the log evidence of each row, at the parameters that were learned.

    Attributes:
        name: the encoder's name.
        log_evidence: the log evidence of each row, (rows,), in nats.
        standard_errors: their standard errors, (rows,).
        k_hat: Pareto's k-hat of each row's weights, (rows,).
        total: the log evidence of all rows together.
        limits: limits of the total, with 95% confidence: the lower one is the sum of limits by betting, all of which
            hold at once; there is no upper one.
        language: the language in which it is printed, "en" or "zh" (see `in_language`).
    """

    name: str
    log_evidence: np.ndarray = dataclasses.field(metadata=WORKING, compare=False)
    standard_errors: np.ndarray = dataclasses.field(metadata=WORKING, compare=False)
    k_hat: np.ndarray = dataclasses.field(metadata=WORKING, compare=False)
    total: Estimate
    limits: Limits
    language: str = dataclasses.field(default="en", metadata=WORKING)

    def in_language(self, language: str) -> "RowEvidence":
        """Return a copy that is printed in a language: "en", or "zh" for Chinese.

        Raises:
            ValueError: another language.
        """
        check_language(language)
        return dataclasses.replace(self, language=language)

    @property
    def unreliable(self) -> int:
        """The number of rows whose weights are too uneven for their standard errors to be trusted."""
        return int(np.sum(self.k_hat > RELIABLE))

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return plain(self)

    @property
    def headline(self) -> str:
        """The encoder, and the log evidence of all rows."""
        return f"{self.name} on {len(self.log_evidence):,} rows: log evidence {self.total}"

    def __str__(self):
        number = len(self.log_evidence)
        rows, draws = f"{number:,}", f"{(self.total.num_draws or 0) // number:,}"
        lower, confidence = significant(self.limits.lower, 4, zeros=False), f"{100 * self.limits.confidence:.4g}"
        mean, uneven = f"{self.total.value / number:.3f}", f"{self.unreliable:,}"
        with speaking(self.language):
            return "\n".join(
                [
                    say("Log evidence of {rows} rows, with the encoder {name}", rows=rows, name=self.name),
                    say(
                        "  in all  {total} nats (importance sampling, {draws} draws for each of {rows} rows)",
                        total=self.total.written,
                        draws=draws,
                        rows=rows,
                    ),
                    say(
                        "          at least {lower} nats, with {confidence}% confidence",
                        lower=lower,
                        confidence=confidence,
                    ),
                    say(
                        "  a row   {mean} nats on average; k-hat is above {limit} for {uneven} of {rows} rows",
                        mean=mean,
                        limit=RELIABLE,
                        uneven=uneven,
                        rows=rows,
                    ),
                    say(
                        "It cannot see: a mode of a row's posterior that neither q nor the wider draws visit, which "
                        "would make the evidence larger; and how uncertain the model's parameters are."
                    ),
                ]
            )


@in_float64
def evidence_by_row(
    fit: Fit | Approximation, *, key: KeyLike, num_draws: int = 2_000, progress: ProgressLike = None
) -> RowEvidence:
    """Estimate the log evidence of each row of an encoder's fit, or of rows that `encode` was given.

    Args:
        fit: the fit of a guide that draws each row's latent variables from that row (an encoder).
        key: a JAX random key, or an integer.
        num_draws: the number of weighted draws for each row, at least 500; as many again are spent before, to find
            where they are best taken from.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.

    Raises:
        UnsuitableError: the guide is no encoder, or the density of its draws is not known.
    """
    q, key = encoder_of(fit, "evidence_by_row"), as_key(key)
    n = whole_number("num_draws", num_draws, at_least=500)
    if not q.family.has_log_prob:
        raise UnsuitableError(f"evidence_by_row needs log q at any point, which '{q.name}' does not know.")
    encoder = Encoder.of(q)
    total, size = encoder.num_rows, min(max(1, AT_ONCE // n), encoder.num_rows)
    log_weights = np.empty((total, n))
    with reporting(progress, "log evidence of all rows") as report:
        for first in range(0, total, size):
            begin = min(first, total - size)  # the last block begins earlier: all have one size, and one program
            rows = np.arange(begin, begin + size)
            log_weights[rows] = weights_of(encoder, rows[:, None], key, n)
            report((begin + size) / total, f"{begin + size:,} of {total:,} rows")
    return record_of(q.name, log_weights)


def record_of(name: str, log_weights: np.ndarray, confidence: float = 0.95) -> RowEvidence:
    """Return what the weights of each row, (rows, draws), say of the evidence."""
    rows, n = log_weights.shape
    found = logsumexp(log_weights, axis=1) - math.log(n)
    errors = np.array([relative_weights(each).std(ddof=1) for each in log_weights]) / math.sqrt(n)
    level = 1 - (1 - confidence) / rows
    lower = sum(log_lower_limit(each, level) for each in log_weights)
    method = f"importance sampling, {n:,} draws for each of {rows:,} rows"
    total = Estimate(found.sum(), np.sqrt(np.sum(errors**2)), method, num_draws=n * rows)
    k_hats = np.array([pareto_k(each) for each in log_weights])
    return RowEvidence(name, found, errors, k_hats, total, Limits(float(lower), math.inf, confidence))


def weights_of(encoder: Encoder, rows: np.ndarray, key, n: int) -> np.ndarray:
    """Return the log weights of n draws for each of some rows, (rows, n), from q and from wider ones found before."""
    keys = jax.random.split(key, ROUNDS + 1)
    few = max(n // ROUNDS, 30 * encoder.target.dim)
    given = encoder.params, encoder.target, rows
    z, log_weights = drawn_from_q(*given, keys[0], encoder.family, few)
    z = np.asarray(z)
    of_q = z.mean(axis=1), covariances(z, np.full(z.shape[:2], 1 / few))
    rng = numpy_generator(keys[0])
    for number, each in zip([few] * (ROUNDS - 1) + [n], keys[1:], strict=True):
        places, covariance = where_to_draw(z, np.asarray(log_weights), *of_q, rng)
        z, log_weights = drawn_from_all(*given, each, places, np.linalg.cholesky(covariance), encoder.family, number)
        z = np.asarray(z)
    return np.asarray(log_weights)


def covariances(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the covariance of each row's weighted draws, (rows, dim, dim)."""
    off = z - np.einsum("rn,rnd->rd", weights, z)[:, None]
    return np.einsum("rn,rnd,rne->rde", weights, off, off)


def where_to_draw(z, log_weights, loc_of_q, covariance_of_q, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of each row's Student t's, (rows, t's, dim), and their covariance up to their scales.

    Mean and covariance are those of the weighted draws; where few of them count, nearer to those of q. The other places
    are draws, taken by their weights.
    """
    weights = np.array([smoothed_weights(each) for each in log_weights])
    counting = np.array([effective_share(each) for each in weights]) * z.shape[1]
    trust = (counting / (counting + 2 * z.shape[2]))[:, None]
    loc = trust * np.einsum("rn,rnd->rd", weights, z) + (1 - trust) * loc_of_q
    trust = trust[..., None]
    covariance = trust * covariances(z, weights) + (1 - trust) * covariance_of_q
    wide = sum(scale >= 1 for scale in SCALES)
    chosen = np.array([rng.choice(len(each), len(SCALES) - wide, p=each) for each in weights])
    return np.concatenate(
        [np.repeat(loc[:, None], wide, 1), np.take_along_axis(z, chosen[..., None], 1)], 1
    ), covariance


@compiled(static=("family", "n"), unoptimized=are_few)
def drawn_from_q(params, target: Target, rows, key, family: Guide, n: int):
    """Return n draws of each row's q, (rows, n, dim), and their log weights."""

    def one(row):
        of_row = with_row(target, row)
        z, log_q = family.sample_and_log_prob(params, of_row, jax.random.fold_in(key, row[0]), n)
        return z, log_p_at(of_row, z) - log_q

    return jax.vmap(one)(rows)


@compiled(static=("family", "n"), unoptimized=are_few)
def drawn_from_all(params, target: Target, rows, key, places, tril, family: Guide, n: int):
    """Return n draws of a mixture of each row's q and Student t's, a fixed number of each, and their log weights."""
    each = round((1 - SHARE_OF_Q) * n / len(SCALES))
    of_q, scales = n - each * len(SCALES), jnp.asarray(SCALES)

    def one(row, places, tril):
        of_row, keys = with_row(target, row), jax.random.split(jax.random.fold_in(key, row[0]))
        wide = dist.MultivariateStudentT(DEGREES, places, scales[:, None, None] * tril, validate_args=False)
        own = family.sample_and_log_prob(params, of_row, keys[0], of_q)[0]
        z = jnp.concatenate([own, wide.sample(keys[1], (each,)).reshape(-1, target.dim)])
        log_q = log_q_at(params, family, of_row, z) + math.log(of_q / n)
        log_wide = jax.nn.logsumexp(log_student_t(z, places, tril), axis=1) + math.log(each / n)
        return z, log_p_at(of_row, z) - jnp.logaddexp(log_q, log_wide)

    return jax.vmap(one)(rows, places, tril)


def log_student_t(z, places, tril):
    """Return the log density of each Student t at each z, (n, t's); all are whitened by one factor, once."""
    dim, scales = z.shape[1], jnp.asarray(SCALES)
    white, centres = (jax.scipy.linalg.solve_triangular(tril, x.T, lower=True).T for x in (z, places))
    squared = jnp.sum((white[:, None] - centres) ** 2, axis=2) / scales**2
    log_det = dim * jnp.log(scales) + jnp.sum(jnp.log(jnp.diagonal(tril)))
    constant = math.lgamma((DEGREES + dim) / 2) - math.lgamma(DEGREES / 2) - dim / 2 * math.log(DEGREES * math.pi)
    return constant - log_det - (DEGREES + dim) / 2 * jnp.log1p(squared / DEGREES)
