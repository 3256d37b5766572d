"""`calibrate`: a fitting procedure over many simulated data sets, in one call.

If theta comes from the prior and y from the model given theta, then theta is a draw of the posterior given y. So the
rank of theta among draws of q, over many data sets, is uniform where q is the posterior (simulation-based
calibration); how it is not uniform says how q errs, parameter by parameter (VSBC).

Given data that were seen, it asks the same of these data alone (posterior SBC): theta comes from the fit to them, y
from the model given theta, and theta is ranked under the fit to both. Where q is the posterior it is a draw of that
posterior; faults that only the prior's other data bring about play no part.

References: Säilynoja, Schmitt, Bürkner & Vehtari (2025), "Posterior SBC: simulation-based calibration checking
conditional on data"; Yao, Vehtari, Simpson & Gelman (2018), "Yes, but did it work? Evaluating variational inference";
Talts, Betancourt, Simpson, Vehtari & Gelman (2018), "Validating Bayesian inference algorithms with simulation-based
calibration"; Modrák et al. (2023), "Simulation-based calibration checking for Bayesian computation".
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import numpy as np

from vi_kl.algorithms.algorithm import Cost, Fit, FitError, counting_costs
from vi_kl.algorithms.elsewhere import fit_elsewhere
from vi_kl.algorithms.registry import Method
from vi_kl.core.annotations import KeyLike, ProgressLike
from vi_kl.core.executors import require_executor
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import as_key, numpy_generator
from vi_kl.targets.calls import why_no_call
from vi_kl.targets.target import Target
from vi_kl.workflows.calibration.calibration import Calibration
from vi_kl.workflows.calibration.ranks import count, quantity_names, spread_evenly
from vi_kl.workflows.calibration.simulate import Simulation, procedure, simulate, simulate_given

FEWEST = 10
BATCH = 10  # data sets that a worker is sent together: the model is traced anew for each task, in 60 ms


@in_float64
def calibrate(
    model: Callable,
    *args: Any,
    observed: str | Sequence[str] = (),
    given: Mapping[str, Any] | None = None,
    method: Method | None = None,
    key: KeyLike | None = None,
    num_data_sets: int = 200,
    num_draws: int = 1000,
    progress: ProgressLike = None,
    executor: Executor | None = None,
    **kwargs: Any,
) -> Calibration:
    """Draw parameters and data from a model many times, fit each data set, and see where the truths lie under q.

    Args:
        model: a NumPyro model that draws its latent sites from the prior and, called without its data (y=None), its
            data too.
        *args: what the model is called with, without the data.
        **kwargs: what the model is called with by name.
        observed: the name of the sample site that is the data, or names of several.
        given: {site: data} that were seen, of each site in `observed`; the procedure is then judged on data like
            these, and not on all that the prior makes.
        method: what `fit` takes: a name, a Family, an Algorithm, a guide function, an autoguide class.
        key: a JAX random key; the same key gives the same calibration.
        num_data_sets: the number of data sets; with 200, the coverage of a 95% interval is known to ±1.5%.
        num_draws: draws of each q by which the truth is ranked.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
            False; by default it is shown on a terminal and in a notebook after two seconds.
        executor: what computes the fits: anything with the interface of `concurrent.futures.Executor`, such as a pool
            of spawned processes or Dask's `client.get_executor()`. Ten data sets are one task there, and the answer is
            the same (SVI, which fits them side by side: but for rounding). Data sets whose worker died are among the
            failures; if a process pool broke by that, which does not say at which task, those that were not finished
            are begun again first, one task at a time in a process of their own.

    Returns:
        The Calibration, with ranks, coverage, tests, and a verdict in words. Fits that failed or did not converge are
        counted there.

    Raises:
        ModelError: the model cannot be simulated or fitted; the message names the site.
        FitError: every fit failed; the message is the first one's.
        ValueError: too few data sets or draws, or a method that does not suit.
        CannotTravelError: the model or another function cannot be sent to a worker; the message names it.
        Interrupted: Ctrl-C, with an executor. What had not begun is cancelled; `finished` holds the other fits,
            {number of the data set: Fit}.
    """
    key = as_key(key)
    if isinstance(model, Target) or hasattr(model, "approximation"):
        raise TypeError(
            f"calibrate takes the model, not a {type(model).__name__}, for it simulates data sets of its own: "
            f"calibrate(model, ..., observed='y', key=key), with the model's arguments but its data."
        )
    refuse_call(model, args, kwargs)
    num_data_sets, num_draws = whole_number("num_data_sets", num_data_sets, 0), whole_number("num_draws", num_draws, 0)
    observed = (observed,) if isinstance(observed, str) else tuple(observed)
    require_sizes(observed, num_data_sets, num_draws)
    require_all_given(observed, given)
    if executor is not None:
        require_executor(executor)
    keys = jax.random.split(key, 4)
    with counting_costs() as counter, reporting(progress, "calibration") as report:
        report(0.0, "simulating data sets")
        if given is None:
            simulation = simulate(model, args, kwargs, observed, keys[0], num_data_sets)
        else:
            seen = {name: np.asarray(given[name]) for name in observed}
            own = jax.random.split(keys[0], 3)
            simulation = simulate_given(model, args, kwargs, seen, method, own, num_data_sets)
        algorithm = procedure(method, simulation.targets[0])
        part, targets = part_of(report, 0.05, 0.95), simulation.targets
        if executor is None:
            fits = algorithm.fit_many(keys[1], targets, progress=part)
        else:
            fit_keys = jax.random.split(keys[1], num_data_sets)
            fits = fit_elsewhere(algorithm, executor, fit_keys, tuple(targets), part, BATCH)
        done = {i: fit for i, fit in enumerate(fits) if isinstance(fit, Fit)}
        if not done:
            raise FitError(f"Each of the {num_data_sets} fits of {algorithm.name} failed. The first: {fits[0]}")
        truths = [{name: x[i] for name, x in simulation.latent.items()} for i in done]
        counts = count(list(done.values()), truths, keys[2], num_draws)
        counter.gradient_evaluations = sum(fit.cost.gradient_evaluations for fit in done.values())
    uniform = numpy_generator(keys[3]).uniform(size=(num_data_sets, len(quantity_names(simulation.latent))))
    record = assemble(algorithm.name, simulation, fits, counts, uniform[list(done)], num_draws, counter.cost())
    return record if given is None else dataclasses.replace(record, given=tuple(observed))


def require_all_given(observed: tuple, given: Mapping[str, Any] | None) -> None:
    """Raise an error unless data are given for each observed site, or none at all."""
    if given is not None and set(given) != set(observed):
        raise ValueError(
            f"given has data for {sorted(given)}, and observed names {sorted(observed)}: give all of them."
        )


def refuse_call(model: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Raise an error if a model cannot be called with these arguments, one of which may be meant for `calibrate`."""
    own = [name for name, x in inspect.signature(calibrate).parameters.items() if x.kind is x.KEYWORD_ONLY]
    words = why_no_call(model, args, kwargs, "calibrate", own)
    if words is not None:
        name = getattr(model, "__name__", type(model).__name__)
        raise TypeError(
            f"{words} Give it all but its data, as in calibrate({name}, x, observed='y', key=0); calibrate "
            f"itself takes {', '.join(own)}."
        )


def require_sizes(observed: tuple, num_data_sets: int, num_draws: int) -> None:
    """Raise an error for too few data sets, draws or observed sites."""
    if not observed:
        raise ValueError("observed is empty: name the sample site that is the data, for example observed='y'.")
    if num_data_sets < FEWEST:
        raise ValueError(f"num_data_sets must be at least {FEWEST} (200 is a good number), got {num_data_sets}.")
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1, got {num_draws}.")


def assemble(name: str, simulation: Simulation, fits: list, counts, uniform, num_draws: int, cost: Cost):
    """Make the Calibration, without data sets whose fit failed and without quantities that never vary."""
    failures = {i: str(fit) for i, fit in enumerate(fits) if not isinstance(fit, Fit)}
    fitted = np.array([i for i in range(len(fits)) if i not in failures])
    for i in fitted[~counts.finite]:
        failures[int(i)] = "Draws of q, or the log density at them or at the true parameters, are not finite."
    varies = (counts.equal < num_draws).any(axis=0)
    ranks, pits = spread_evenly(counts, uniform, num_draws)
    if not counts.finite.any():
        raise FitError(f"All of the {len(fits)} fits of {name} failed. The first: {failures[min(failures)]}")
    return Calibration(
        method=name,
        parameters=tuple(n for n, kept in zip(quantity_names(simulation.latent), varies, strict=True) if kept),
        ranks=ranks[counts.finite][:, varies],
        pits=pits[counts.finite][:, varies],
        num_draws=num_draws,
        converged=np.array([fits[i].status.converged for i in fitted[counts.finite]]),
        failures=failures,
        latent=simulation.latent,
        data=simulation.data,
        cost=cost,
    )
