"""The worm teeth as NumPyro models: five answers to "how were these 1,000 counts made?".

Every model takes the possible numbers of teeth (`teeth`, 0 to 10) and how many worms have each (`worms`). A worm
with x teeth contributes log p(x); `worms` scales it, which is the same as one row per worm and 90 times cheaper.
The evidence is that of the whole sequence of worms, so -log2 evidence is the number of bits that sending all of
them costs.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import betaln, gammaln

from vi_kl.demo.worms.data import TEETH, WORMS
from vi_kl.reference import closed_form_reference, reference_by_quadrature
from vi_kl.targets import Target

MOST_TEETH = 10
LOG_ARRANGEMENTS = gammaln(MOST_TEETH + 1) - gammaln(TEETH + 1) - gammaln(MOST_TEETH - TEETH + 1)
FIRST_HIGH = 6  # the block model's upper block: 6 to 10 teeth


# The models ----------------------------------------------------------------------------------------------------


def binomial_model(teeth, worms):
    """Ten places for a tooth, each filled with the same probability p."""
    p = numpyro.sample("p", dist.Beta(1, 1))
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=worms):
        numpyro.sample("teeth", dist.Binomial(MOST_TEETH, p), obs=teeth)


def block_model(teeth, worms):
    """The article's "ad hoc" model: mass p spread evenly over 6 to 10 teeth, the rest over 0 to 5."""
    p = numpyro.sample("p", dist.Beta(1, 1))
    high = jnp.arange(MOST_TEETH + 1) >= FIRST_HIGH
    probs = jnp.where(high, p / high.sum(), (1 - p) / (~high).sum())
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=worms):
        numpyro.sample("teeth", dist.Categorical(probs), obs=teeth)


def categorical_model(teeth, worms):
    """A free probability for each number of teeth."""
    theta = numpyro.sample("theta", dist.Dirichlet(jnp.ones(MOST_TEETH + 1)))
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=worms):
        numpyro.sample("teeth", dist.Categorical(theta), obs=teeth)


def beta_binomial_model(teeth, worms):
    """Every worm has a tooth probability of its own, from a Beta with this mean and concentration."""
    mean = numpyro.sample("mean", dist.Uniform(0, 1))
    concentration = numpyro.sample("concentration", dist.LogNormal(1, 1))
    logits = beta_binomial_log_pmf(mean * concentration, (1 - mean) * concentration)
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=worms):
        numpyro.sample("teeth", dist.Categorical(logits=logits), obs=teeth)


def beta_binomial_log_pmf(a, b):
    """Return the log probabilities of 0 to 10 teeth, by Polya's urn: places fill one after another.

    dist.BetaBinomial is the same distribution, but it leans on jax.scipy.special.betaln, whose errors of 5e-7 in
    float64 add up to 4e-4 nats over 1,000 worms.
    """

    def log_rising(c):  # log of c (c + 1) ... (c + n - 1) for n = 0, ..., 10
        return jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.log(c + jnp.arange(MOST_TEETH)))])

    return LOG_ARRANGEMENTS + log_rising(a) + log_rising(b)[::-1] - log_rising(a + b)[-1]


def two_kinds_model(teeth, worms):
    """Two kinds of worms, each binomial. The labels are free, so the posterior has two symmetric modes."""
    weight = numpyro.sample("weight", dist.Uniform(0, 1))
    p1 = numpyro.sample("p1", dist.Uniform(0, 1))
    p2 = numpyro.sample("p2", dist.Uniform(0, 1))
    kinds = dist.Binomial(MOST_TEETH, jnp.stack([p1, p2])[:, None]).log_prob(jnp.arange(MOST_TEETH + 1))
    log_weights = jnp.log(jnp.stack([weight, 1 - weight]))[:, None]
    logits = jax.nn.logsumexp(log_weights + kinds, axis=0)
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=worms):
        numpyro.sample("teeth", dist.Categorical(logits=logits), obs=teeth)


# Guides that a person would write for them ---------------------------------------------------------------------


def beta_guide(teeth, worms):
    """q(p) = Beta(a, b): the family that holds the exact posterior of the binomial and block models."""
    a = numpyro.param("a", 100.0, constraint=dist.constraints.positive)
    b = numpyro.param("b", 100.0, constraint=dist.constraints.positive)
    numpyro.sample("p", dist.Beta(a, b))


def dirichlet_guide(teeth, worms):
    """q(theta) = Dirichlet(a): the family that holds the exact posterior of the categorical model."""
    a = numpyro.param("a", jnp.full(MOST_TEETH + 1, 20.0), constraint=dist.constraints.positive)
    numpyro.sample("theta", dist.Dirichlet(a))


# Targets, with what is known exactly ---------------------------------------------------------------------------


def binomial(worms=WORMS) -> Target:
    """Make the target of `binomial_model`: posterior Beta(1 + teeth, 1 + empty places) and evidence in closed form."""

    def reference(target):
        full = float(np.sum(TEETH * counts))
        empty = MOST_TEETH * counts.sum() - full
        log_evidence = betaln(1 + full, 1 + empty) + np.sum(counts * LOG_ARRANGEMENTS)
        return closed_form_reference(target, {"p": dist.Beta(1 + full, 1 + empty)}, log_evidence)

    counts = checked_counts(worms)
    return make_target(binomial_model, counts, reference)


def block(worms=WORMS) -> Target:
    """Make the target of `block_model`: posterior Beta(1 + worms of 6 and more, 1 + the others), closed form."""

    def reference(target):
        is_high = TEETH >= FIRST_HIGH
        high, low = float(counts[is_high].sum()), float(counts[~is_high].sum())
        log_evidence = betaln(1 + high, 1 + low) - high * np.log(is_high.sum()) - low * np.log((~is_high).sum())
        return closed_form_reference(target, {"p": dist.Beta(1 + high, 1 + low)}, log_evidence)

    counts = checked_counts(worms)
    return make_target(block_model, counts, reference)


def categorical(worms=WORMS) -> Target:
    """Make the target of `categorical_model`: posterior Dirichlet(1 + counts) and evidence in closed form."""

    def reference(target):
        after = 1.0 + counts
        log_evidence = np.sum(gammaln(after)) - gammaln(after.sum()) + gammaln(len(after))
        return closed_form_reference(target, {"theta": dist.Dirichlet(jnp.asarray(after))}, log_evidence)

    counts = checked_counts(worms)
    return make_target(categorical_model, counts, reference)


def beta_binomial(worms=WORMS) -> Target:
    """Make the target of `beta_binomial_model`: no closed form; evidence and posterior by quadrature."""
    return make_target(beta_binomial_model, checked_counts(worms), reference_by_quadrature)


def two_kinds(worms=WORMS) -> Target:
    """Make the target of `two_kinds_model`: two symmetric modes; evidence and posterior by quadrature around both."""
    return make_target(two_kinds_model, checked_counts(worms), reference_by_quadrature)


TARGETS: dict[str, Callable[..., Target]] = {
    "binomial": binomial,
    "block": block,
    "categorical": categorical,
    "beta_binomial": beta_binomial,
    "two_kinds": two_kinds,
}


def make_target(model, counts, reference) -> Target:
    """Make the target of a model, with its reference."""
    return Target.from_numpyro(model, TEETH, counts, reference=reference)


def checked_counts(worms) -> np.ndarray:
    """Return counts of worms for 0 to 10 teeth, as integers.

    Raises:
        ValueError: not 11 of them, one that is NaN, negative or not whole, or none positive.
    """
    counts = np.asarray(worms)
    if counts.shape != TEETH.shape:
        raise ValueError(f"worms must hold {len(TEETH)} counts, for 0 to {MOST_TEETH} teeth, got {counts.shape}.")
    for what, bad in (
        ("NaN", np.isnan(counts.astype(float))),
        ("negative", counts < 0),
        ("not a whole number", counts != np.round(counts)),
    ):
        if bad.any():
            where = int(np.argmax(bad))
            raise ValueError(f"worms[{where}] (worms with {where} teeth) is {what}: {counts[where]}.")
    if counts.sum() == 0:
        raise ValueError("worms are all zero: there is nothing to send home.")
    return counts.astype(np.int64)
