"""`compare_models`: the evidence of several models of the same data, and their leave-one-out prediction.

The log evidence is that of each fit's certificate: by a closed form, quadrature or importance weights, with its limits.
It is an average of the likelihood over the prior, and so it depends on the prior, even where the posterior does not.
Leave-one-out cross-validation asks another question, how well new observations are predicted, and depends on the prior
as little as the posterior does.

References: Kass & Raftery (1995), "Bayes factors"; Vehtari, Gelman & Gabry (2017), "Practical Bayesian model evaluation
using leave-one-out cross-validation and WAIC"; Magnusson, Andersen, Jonasson & Vehtari (2019), "Bayesian leave-one-out
cross-validation for large data", for draws of an approximation; Kallioinen, Paananen, Bürkner & Vehtari (2024),
"Detecting and diagnosing prior and likelihood sensitivity with power-scaling".
"""

import contextlib
import importlib.util
import itertools
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Fit
from vi_kl.algorithms.fitting import fit as fit_target
from vi_kl.algorithms.method import MethodLike
from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import as_key
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.diagnostics.certificate import Certificate, check
from vi_kl.diagnostics.psis import RELIABLE
from vi_kl.draws.model_runs import ModelRuns
from vi_kl.targets.priors import improper_sites
from vi_kl.targets.target import Target
from vi_kl.workflows.model_comparison import ModelComparison

DRAWS = 4_000  # of each approximation, for leave-one-out


@names_its_arguments
def compare_models(
    models: Mapping[str, Target | Fit],
    *,
    key: KeyLike,
    method: MethodLike | None = None,
    loo: bool | None = None,
    progress: ProgressLike = None,
) -> ModelComparison:
    """Compare models of the same data by their evidence, and by leave-one-out prediction.

    Args:
        models: {name: target}, two or more; a Fit is taken as it is.
        key: a JAX random key, or an integer.
        method: how the targets are fitted, as `fit` takes it.
        loo: whether to compare by leave-one-out too, which needs ArviZ and models that can be run forward; by default
            where both are there.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or False; by
            default it is shown on a terminal and in a notebook after two seconds.

    Returns:
        The ModelComparison, with evidences and their limits, Bayes factors with intervals, differences of expected log
        predictive densities, which quantities depend on the prior, and what all this says in words.

    Raises:
        ValueError: there are fewer than two models, or two of them do not observe the same data.
        TypeError: one is neither a target nor a fit.
    """
    key = as_key(key)
    targets = {str(name): target_of_model(name, model) for name, model in models.items()}
    if len(targets) < 2:
        raise ValueError(f"compare_models takes two or more models, got {len(targets)}.")
    seen = {name: observed(target) for name, target in targets.items()}
    refuse_other_data(seen)
    fits: list[Fit] = []
    certificates: list[Certificate] = []
    with reporting(progress, "comparison of models") as report:
        for i, (name, model) in enumerate(models.items()):
            one, part = (
                jax.random.split(jax.random.fold_in(key, i)),
                part_of(report, i / len(models), (i + 0.8) / len(models)),
            )
            part(0.0, f"fitting and checking {name}")
            fitted = model if isinstance(model, Fit) else fit_target(model, method=method, key=one[0], progress=part)
            fits.append(fitted)
            certificates.append(check(fitted, key=one[1], progress=False))
        report(0.9, "leaving out one observation after another")
        wanted = importlib.util.find_spec("arviz_stats") is not None if loo is None else loo
        trees = [
            tree_of(f, key) if wanted and seen[n] is not None else None for n, f in zip(targets, fits, strict=True)
        ]
        predicted = [None if tree is None else pointwise(tree) for tree in trees]
    return ModelComparison(
        tuple(targets),
        tuple(fits),
        tuple(certificates),
        tuple(None if found is None else total(found) for found in predicted),
        behind_the_best(predicted),
        tuple(() if tree is None else prior_sensitive(tree) for tree in trees),
        {name: why for name, target in targets.items() if (why := without_evidence(target))},
        notes_on(targets, seen, certificates, predicted),
    )


def target_of_model(name: str, model: Any) -> Target:
    """Return the target of a model that was given as one, or as a fit of it."""
    if isinstance(model, Fit):
        return model.target
    if isinstance(model, Target):
        return model
    raise TypeError(f"The model {name!r} must be a Target or a Fit, not {type(model).__name__}.")


@in_float64
def observed(target: Target) -> list[np.ndarray] | None:
    """Return the data of the observed sites; None where the target's source does not tell them."""
    if not target.density.offers("forward"):
        return None
    return [np.asarray(x) for x in ModelRuns.of(target, "compare_models").observed().values()]


def refuse_other_data(seen: Mapping[str, list[np.ndarray] | None]) -> None:
    """Raise an error unless all models whose data are known observe the same arrays, under whatever names."""
    known = [(name, found) for name, found in seen.items() if found is not None]
    for (name, found), (other, others) in itertools.pairwise(known):
        left = list(others)
        for array in found:
            place = next((i for i, x in enumerate(left) if x.shape == array.shape and np.array_equal(x, array)), None)
            if place is None:
                raise ValueError(
                    f"'{name}' and '{other}' do not observe the same data: an observed array of shape {array.shape} of "
                    f"the first is none of the second's. Evidences and predictions of different data, or of the same "
                    f"data on another scale, cannot be compared."
                )
            left.pop(place)
        if left:
            raise ValueError(f"'{other}' observes {len(left)} arrays more than '{name}': they model different data.")


def without_evidence(target: Target) -> str:
    """Say why the evidence of a model means nothing; "" if it does."""
    if not target.density.offers("forward"):
        return "its log density is known up to a constant only, as far as can be seen."
    improper = improper_sites(target) if target.density.offers("priors") else ()
    if improper:
        return f"the prior of {', '.join(improper)} has no mass to average over. Give it a proper one."
    return ""


def tree_of(fitted: Fit, key: jax.Array):
    """Return the draws of a fit as ArviZ takes them, with log likelihoods."""
    return fitted.to_arviz(jax.random.fold_in(key, 1_000), DRAWS, predictive=False, log_likelihood=True)


def pointwise(tree) -> np.ndarray | None:
    """Return the expected log predictive density of every observation left out, (observations,); None without log q."""
    import arviz_stats

    if "log_q" not in tree.sample_stats:
        return None
    found = []
    with warnings.catch_warnings():  # what they warn of, heavy weights, the notes say in words
        warnings.simplefilter("ignore")
        for site in tree.log_likelihood.data_vars:
            stats = tree.sample_stats
            loo = arviz_stats.loo_approximate_posterior(tree, stats.lp, stats.log_q, pointwise=True, var_name=site)
            found.append(np.ravel(loo.elpd_i))
    return np.concatenate(found)


def total(found: np.ndarray) -> Estimate:
    """Return the sum over the observations, with the standard error that so few of them leave."""
    error = np.sqrt(len(found)) * found.std(ddof=1) if len(found) > 1 else np.inf
    return Estimate(found.sum(), error, "Pareto-smoothed leave-one-out")


def behind_the_best(predicted: list[np.ndarray | None]) -> tuple[Estimate | None, ...]:
    """Return how far each is behind the best, by differences observation by observation."""
    known = [found for found in predicted if found is not None]
    if len(known) < 2 or len({len(found) for found in known}) > 1:
        return tuple(None for _ in predicted)
    best = max(known, key=lambda found: found.sum())
    return tuple(None if found is None else total(best - found) for found in predicted)


@contextlib.contextmanager
def silenced(name: str):
    """Return a context in which a package's logger lets errors pass only."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def prior_sensitive(tree) -> tuple[str, ...]:
    """Return what depends on the prior, with power-scaling's diagnosis of each."""
    import arviz_stats

    # it warns of heavy weights, which only very sensitive quantities have, and logs where to read on
    with warnings.catch_warnings(), silenced("arviz_stats"):
        warnings.simplefilter("ignore")
        table = arviz_stats.psense_summary(tree)
    told = table["diagnosis"].astype(str)
    return tuple(f"{name} shows {words}" for name, words in told.items() if words not in ("✓", "-", "nan"))


def notes_on(targets, seen, certificates, predicted) -> tuple[str, ...]:
    """Say what the figures rest on."""
    notes = [
        f"Which data '{name}' is of cannot be seen: that they are those of the others is yours to know."
        for name, found in seen.items()
        if found is None
    ]
    notes += [
        f"The evidence of '{name}' is that at its learned parameters ({', '.join(c.learned)}), the largest there is, "
        f"which favours the model over those whose parameters have priors."
        for name, c in zip(targets, certificates, strict=True)
        if c.learned
    ]
    for name, c, found in zip(targets, certificates, predicted, strict=True):
        if found is not None and c.k_hat > RELIABLE:
            notes.append(f"Leave-one-out of '{name}' rests on weights with k-hat {c.k_hat_text}, which do not mend q.")
    return tuple(notes)


__all__ = ["ModelComparison", "compare_models"]
