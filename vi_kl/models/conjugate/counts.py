"""Counts with a Beta, Gamma or Dirichlet prior: one site each, and a posterior of the same family as the prior."""

import numpy as np
import numpy.typing as npt
import numpyro
import numpyro.distributions as dist
from scipy.special import betaln, gammaln

from vi_kl.models.conjugate.checks import counts, positive, refuse, same_length
from vi_kl.reference import closed_form_reference
from vi_kl.targets import Target


def beta_binomial_model(successes, trials, a, b):
    p = numpyro.sample("p", dist.Beta(a, b))
    with numpyro.plate("rows", len(successes)):
        numpyro.sample("successes", dist.Binomial(trials, p), obs=successes)


def gamma_poisson_model(events, exposure, shape, rate_of_prior):
    rate = numpyro.sample("rate", dist.Gamma(shape, rate_of_prior))
    with numpyro.plate("rows", len(events)):
        numpyro.sample("events", dist.Poisson(rate * exposure), obs=events)


def dirichlet_multinomial_model(table, totals, concentration):
    theta = numpyro.sample("theta", dist.Dirichlet(concentration))
    with numpyro.plate("rows", len(table)):
        numpyro.sample("table", dist.Multinomial(totals, theta), obs=table)


def dirichlet_categorical_model(labels, concentration):
    theta = numpyro.sample("theta", dist.Dirichlet(concentration))
    with numpyro.plate("rows", len(labels)):
        numpyro.sample("labels", dist.Categorical(theta), obs=labels)


def beta_binomial(
    successes: npt.ArrayLike = (7, 3, 12), trials: npt.ArrayLike = (10, 8, 15), a: float = 2.0, b: float = 3.0
) -> Target:
    """Make a target: successes out of trials with one probability p, a priori Beta(a, b).

    Args:
        successes: one count for each row.
        trials: likewise.
        a: the parameters of the prior.
        b: likewise.

    Raises:
        ValueError: a count or a parameter is impossible; the message gives its name and place.
    """
    successes, trials = counts("successes", successes, 1), counts("trials", trials, 1)
    same_length("successes", successes, "trials", trials)
    refuse("successes", successes, successes > trials, "more than its trials")
    a, b = positive("a", a, 0), positive("b", b, 0)

    def reference(target):
        after = a + successes.sum(), b + (trials - successes).sum()
        arrangements = gammaln(trials + 1) - gammaln(successes + 1) - gammaln(trials - successes + 1)
        log_evidence = betaln(*after) - betaln(a, b) + arrangements.sum()
        return closed_form_reference(target, {"p": dist.Beta(*after)}, log_evidence)

    return Target.from_numpyro(beta_binomial_model, successes, trials, a, b, reference=reference)


def gamma_poisson(
    events: npt.ArrayLike = (3, 0, 5, 2, 4),
    exposure: npt.ArrayLike = (1.0, 0.5, 2.5, 1.0, 1.5),
    shape: float = 2.0,
    rate: float = 1.5,
) -> Target:
    """Make a target: events at one rate per unit of exposure, a priori Gamma(shape, rate).

    Args:
        events: one count for each row.
        exposure: the time for which each row was observed; a single number stands for all.
        shape: the parameters of the prior.
        rate: likewise.
    """
    events = counts("events", events, 1)
    exposure = positive("exposure", exposure, (0, 1))
    exposure = exposure if exposure.ndim else np.full(len(events), exposure)
    same_length("events", events, "exposure", exposure)
    shape, rate = positive("shape", shape, 0), positive("rate", rate, 0)

    def reference(target):
        after_shape, after_rate = shape + events.sum(), rate + exposure.sum()
        log_evidence = shape * np.log(rate) - gammaln(shape) + gammaln(after_shape) - after_shape * np.log(after_rate)
        log_evidence += np.sum(events * np.log(exposure) - gammaln(events + 1))
        return closed_form_reference(target, {"rate": dist.Gamma(after_shape, after_rate)}, log_evidence)

    return Target.from_numpyro(gamma_poisson_model, events, exposure, shape, rate, reference=reference)


def dirichlet_multinomial(
    table: npt.ArrayLike = ((4, 1, 0, 3), (2, 2, 1, 6), (5, 0, 0, 2)),
    concentration: npt.ArrayLike = (1.0, 0.5, 0.5, 2.0),
) -> Target:
    """Make a target: rows of category counts with the same probabilities theta, a priori Dirichlet(concentration).

    Args:
        table: the counts, of shape (rows, categories).
        concentration: the parameters of the prior, one for each category.
    """
    table, concentration = counts("table", table, 2), positive("concentration", concentration, 1)
    require_categories(concentration)
    if table.shape[1] != len(concentration):
        raise ValueError(f"table has {table.shape[1]} columns and concentration {len(concentration)} entries.")
    totals = table.sum(axis=1)

    def reference(target):
        arrangements = gammaln(totals + 1).sum() - gammaln(table + 1).sum()
        return dirichlet_reference(target, concentration, table.sum(axis=0), arrangements)

    return Target.from_numpyro(dirichlet_multinomial_model, table, totals, concentration, reference=reference)


def dirichlet_categorical(
    labels: npt.ArrayLike = (0, 2, 2, 1, 0, 2, 2, 0, 2), concentration: npt.ArrayLike = (1.0, 0.5, 2.0)
) -> Target:
    """Make a target: labels 0, 1, ... with probabilities theta, a priori Dirichlet(concentration).

    Args:
        labels: one category number for each row.
        concentration: the parameters of the prior, one for each category.
    """
    labels, concentration = counts("labels", labels, 1), positive("concentration", concentration, 1)
    require_categories(concentration)
    refuse("labels", labels, labels >= len(concentration), f"not one of the {len(concentration)} categories from 0")

    def reference(target):
        return dirichlet_reference(target, concentration, np.bincount(labels, minlength=len(concentration)), 0.0)

    return Target.from_numpyro(dirichlet_categorical_model, labels, concentration, reference=reference)


def require_categories(concentration) -> None:
    if len(concentration) < 2:
        raise ValueError("concentration has one entry: a single category leaves nothing to infer.")


def dirichlet_reference(target, concentration, seen, log_arrangements: float):
    """Return posterior and evidence after these counts; `log_arrangements` is the log number of their orders."""
    after = concentration + seen
    log_evidence = log_beta(after) - log_beta(concentration) + log_arrangements
    return closed_form_reference(target, {"theta": dist.Dirichlet(after)}, log_evidence)


def log_beta(concentration) -> float:
    """Return the log of the Dirichlet's normalising constant."""
    return gammaln(concentration).sum() - gammaln(concentration.sum())
