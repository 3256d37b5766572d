"""The interpretation of a divergence, in a sentence or two."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import Distribution

from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.written_numbers import significant, with_unit
from vi_kl.divergences import NoClosedForm, kl_divergence
from vi_kl.divergences.density import log_density

PROBES = 4_096  # draws of p among which those without density under q are sought
STRONG = 20.0  # odds that count as strong evidence (Kass & Raftery 1995)


def interpret(estimate: Estimate, p: str = "p", q: str = "q") -> str:
    """Say what it costs to use q for p: in bits the length of a code, in nats evidence.

    Evidence against q grows by KL(p||q) nats per draw on average, so log(20) / KL draws from p bring the odds of p
    against q to 20 to 1 (in the mean of the log).
    """
    nats, error = estimate.to("nats").value, estimate.to("nats").standard_error
    if math.isinf(nats):
        return f"Using {q} for {p} costs without bound: over draws from {p}, log {p} - log {q} has no finite mean."
    drawn = estimate.num_draws is not None
    if nats == 0 and error == 0 and drawn:
        return f"{p} and {q} have the same density at every draw."
    if nats == 0 and error == 0:
        return f"{p} and {q} are the same distribution: using {q} for {p} costs nothing."
    if nats <= 2 * error and not drawn:
        return f"Within its error this is zero: {q} does as well as {p}."
    if nats <= 2 * error:
        return f"The error is as large as the number: this does not say what using {q} for {p} costs; more --draws may."
    is_large = 1_000 <= estimate.value < 1e15
    amount = f"{estimate.value:,.0f}" if is_large else significant(estimate.value, zeros=False)
    cost = f"Using {q} for {p} costs {with_unit(amount, estimate.unit)} a draw"
    if estimate.unit == "bits":
        return f"{cost}: a code made for {q} is that much longer on average than one made for {p}."
    draws = math.log(STRONG) / nats
    if draws > 1:
        count = readable(math.ceil(draws))
        return f"{cost}: it takes about {count} draws from {p} for odds of {STRONG:g} to 1 against {q}."
    odds = f"{math.exp(nats):,.0f}" if nats < math.log(1e6) else f"10^{nats / math.log(10):,.0f}"
    return f"{cost}: a single draw from {p} is typically {odds} times as likely under {p} as under {q}."


def readable(count: int) -> str:
    """Write a count to two digits."""
    if count < 100:
        return str(count)
    if count >= 1e12:
        return f"{count:.0e}"
    step = 10 ** (len(str(count)) - 2)
    return f"{round(count / step) * step:,}"


@in_float64
def why_infinite(p, q, names: tuple[str, str] = ("p", "q"), seed: int = 0) -> str:
    """Say why KL(p||q) is infinite, from what the two are, or as far as draws from p show it; "" if p has no draws.

    Args:
        p, q: distributions, or one-dimensional pmf arrays.
        names: the names of the two in the sentence.
        seed: the seed of the draws.
    """
    p_name, q_name = names
    if not isinstance(p, Distribution):
        missing = np.flatnonzero((np.asarray(p) > 0) & (np.asarray(q) == 0))
        return f"{p_name} has probability where {q_name} has none: {entries_of(missing)}."
    if reason := by_their_kind(p, q, p_name, q_name):
        return reason
    try:
        draws = p.sample(jax.random.key(seed), (PROBES,))
    except NotImplementedError:
        return ""
    outside = np.asarray(is_impossible(q, draws))
    kind = "probability" if q.is_discrete else "density"
    if outside.any():
        example = np.asarray(draws)[outside][0]
        at = f", such as {float(example):.4g}" if example.ndim == 0 else ""
        share = f"{outside.mean():.2g}" if outside.mean() < 0.01 else f"{outside.mean():.0%}"
        return f"{p_name} reaches where {q_name} has no {kind}: {share} of its draws are there{at}."
    thinner = "" if p.event_shape == () else f", or {p_name} lies on a set too thin to have any {kind} under {q_name}"
    return (
        f"None of {PROBES:,} draws from {p_name} falls where {q_name} has no {kind}, so it is most likely the tails,"
        f" where {q_name} falls off too fast for {p_name}{thinner}."
    )


def by_their_kind(p, q, p_name: str, q_name: str) -> str:
    """Say why KL is infinite if that needs no draws; "" if it does.

    The reasons are different numbers of trials, a category that q excludes, and a point where p has probability.
    """
    if isinstance(p, CATEGORIES_COUNTED) and isinstance(q, CATEGORIES_COUNTED):
        trials = [int(np.max(d.total_count)) for d in (p, q)]
        if trials[0] != trials[1]:
            counts = f"{trials[0]:,} trials and {q_name} has {trials[1]:,}"
            return f"{p_name} has {counts}: they have no outcome in common."
        if isinstance(p, MULTINOMIAL) and isinstance(q, MULTINOMIAL):
            missing = np.flatnonzero((np.asarray(p.probs) > 0) & (np.asarray(q.probs) == 0))
            return f"{p_name} has probability where {q_name} has none: {entries_of(missing, 'category', 'categories')}."
    atom = None if q.is_discrete else atom_of(p)
    if atom is None or is_point_mass(q):
        return ""
    return f"{p_name} has probability at the single value {atom}, which the density of {q_name} gives none."


CATEGORIES_COUNTED = (dist.MultinomialProbs, dist.MultinomialLogits, dist.DirichletMultinomial)
MULTINOMIAL = CATEGORIES_COUNTED[:2]


def atom_of(distribution) -> str | None:
    """Return a value that has a positive probability, beside a density or instead of one; None if there is none."""
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        distribution = distribution.base_dist
    if isinstance(distribution, dist.Delta):
        return f"{np.asarray(distribution.v).ravel()[0]:.4g}"
    if isinstance(distribution, dist.HurdleProbs | dist.ZeroInflatedProbs) and not distribution.base_dist.is_discrete:
        return "0"
    return None


def is_point_mass(distribution) -> bool:
    """Return whether a distribution is a Delta."""
    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.Delta)


def is_impossible(q, draws):
    """Return which draws q gives no density or probability.

    Single counts are judged by their exact probabilities, because NumPyro's are never 0.
    """
    outside = np.isneginf(np.asarray(log_density(q, draws)))
    if not q.is_discrete or q.event_shape:
        return outside
    values, places = np.unique(np.asarray(draws), return_inverse=True)
    try:
        exact = np.isinf(np.asarray(kl_divergence(dist.Delta(jnp.asarray(values)), q)))
    except (NoClosedForm, ValueError):
        return outside
    return outside | exact[places.reshape(outside.shape)]


def entries_of(indices: np.ndarray, one: str = "entry", several: str = "entries") -> str:
    """Name entries of a list, the first few by number."""
    shown = ", ".join(f"[{index}]" for index in indices[:5])
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    return f"{one if len(indices) == 1 else several} {shown}{more}"
