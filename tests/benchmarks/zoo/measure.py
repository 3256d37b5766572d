"""Measure one method on one case: what it costs, and how far it is from NUTS' draws.

"default" and the names that `vi_kl.fit` takes are fitted and checked; "nuts" is run or read from the cache;
"autonormal" and "automultivariatenormal" are NumPyro's own guides (peers.py).
"""

import time
from pathlib import Path

import jax
import numpy as np

import vi_kl
from vi_kl.algorithms.auto_fit import AutoFit
from vi_kl.core.evaluations import counting_evaluations
from vi_kl.core.precision import in_float64
from vi_kl.core.records import plain
from vi_kl.targets.target import Target, constrain_in_chunks

from . import nuts, peers
from .case import Case
from .memory import peak_mib

DEFAULT, NUTS = "default", "nuts"
DRAWS, MOST_NUMBERS = 20_000, 50_000_000  # draws of an approximation, and numbers in all of them


class RecordedAutoFit(AutoFit):
    """The default, which writes down what each of its candidates cost."""

    name = "automatic"

    def fit_and_judge(self, name, *args):
        """Fit a candidate as the default does, and write down its gradients, evaluations and CPU seconds."""
        counter, begun = args[-1], time.process_time()
        before = counter.gradient_evaluations, counter.density_evaluations
        if not RECORD:
            RECORD.append(
                {"step": "start", "gradients": before[0], "densities": before[1], "cpu_seconds": cpu_so_far()}
            )
        try:
            return super().fit_and_judge(name, *args)
        finally:
            spent = counter.gradient_evaluations - before[0], counter.density_evaluations - before[1]
            note(name, *spent, time.process_time() - begun)


RECORD: list[dict] = []
BEGUN = [0.0]


def note(step: str, gradients: int, densities: int, cpu_seconds: float) -> None:
    RECORD.append({"step": step, "gradients": gradients, "densities": densities, "cpu_seconds": cpu_seconds})


def cpu_so_far() -> float:
    return time.process_time() - BEGUN[0]


def measure(case: Case, method: str, seed: int, cache: Path | None) -> dict:
    """Return the figures of one method on one case."""
    if method == NUTS:
        return nuts.row(nuts.run(case, seed, cache), case)
    target = case.target()
    if method in peers.GUIDES:
        figures, draws = peers.measure(case, peers.GUIDES[method], seed)
        draws = jax.tree.map(np.asarray, draws)
        z = unconstrained(target, draws)
    else:
        figures, fit = fit_and_check(target, method, seed)
        n = min(DRAWS, MOST_NUMBERS // target.dim)
        z = fit.sample_and_log_prob(jax.random.key(seed + 1), n)[0]
    if case.known is not None:
        figures |= beside_known(case.known(), target, figures, z)
    return figures | against(nuts.run(case, seed, cache, only_kept=True), figures, z)


def against(known: dict | None, figures: dict, z: np.ndarray) -> dict:
    """Return costs as shares of NUTS' and the errors against its draws; nothing without a run of NUTS."""
    if known is None:
        return {}
    shares = {f"{name}_share": figures[name] / float(known[name]) for name in ("gradients", "cpu_seconds")}
    return shares | nuts.errors(np.asarray(z, float), known)


@in_float64
def beside_known(known: dict, target: Target, figures: dict, z: np.ndarray) -> dict:
    """Return errors in the model's own space, in exact sds, and how far the ELBO is below the log evidence."""
    sites = constrain_in_chunks(target, np.asarray(z, float))
    moments = {name: value for name, value in known.items() if name != "log_evidence"}
    mean, sd = (np.concatenate([np.ravel(value[i]) for value in moments.values()]) for i in (0, 1))
    draws = np.concatenate([np.reshape(sites[name], (len(z), -1)) for name in moments], axis=1)
    off, ratio = (draws.mean(axis=0) - mean) / sd, draws.std(axis=0, ddof=1) / sd - 1
    found = {
        "known_mean_error": nuts.rms(off),
        "known_largest_mean_error": float(np.max(np.abs(off))),
        "known_sd_error": nuts.rms(ratio),
        "known_largest_sd_error": float(np.max(np.abs(ratio))),
    }
    if "log_evidence" in known and "elbo" in figures:
        found["gap"] = known["log_evidence"] - figures["elbo"]
    return found


@in_float64
def unconstrained(target: Target, sites: dict) -> np.ndarray:
    return target.unconstrain({name: np.asarray(sites[name], float) for name in target.site_names})


def fit_and_check(target: Target, method: str, seed: int):
    """Fit and check; return the figures and the fit."""
    fit_key, check_key = jax.random.split(jax.random.key(seed))
    RECORD.clear()
    BEGUN[0], wall, before = time.process_time(), time.perf_counter(), peak_mib()
    fit = vi_kl.fit(target, RecordedAutoFit() if method == DEFAULT else method, key=fit_key)
    fit_cpu, fit_wall, fit_peak = cpu_so_far(), time.perf_counter() - wall, peak_mib()
    figures = {
        "fit_gradients": fit.cost.gradient_evaluations,
        "fit_densities": fit.cost.density_evaluations,
        "compile_seconds": fit.cost.compile_seconds,
        "fit_cpu_seconds": fit_cpu,
        "fit_wall_seconds": fit_wall,
        "fit_peak_mib": fit_peak,
        "imports_mib": before,
        "converged": fit.status.converged,
        "status": str(fit.status),
        "family": fit.approximation.name,
        "steps": list(RECORD),
    }
    with counting_evaluations() as spent:
        try:
            figures |= certificate_figures(vi_kl.check(fit, key=check_key))
        except Exception as error:  # a fit without a certificate is a row all the same
            figures["label"] = f"{type(error).__name__}: {error}"
    figures |= {
        "gradients": figures["fit_gradients"] + spent.gradients,
        "densities": figures["fit_densities"] + spent.densities,
    }
    figures |= {"cpu_seconds": cpu_so_far(), "wall_seconds": time.perf_counter() - wall, "peak_mib": peak_mib()}
    return figures, fit


def certificate_figures(certificate) -> dict:
    """Return a certificate's KL, how reliable it is, and its words."""
    return plain(
        {
            "label": certificate.label,
            "kl": certificate.reverse_kl and certificate.reverse_kl.value,
            "kl_error": certificate.reverse_kl and certificate.reverse_kl.standard_error,
            "elbo": certificate.elbo.value,
            "k_hat": certificate.k_hat,
            "verdict": certificate.verdict,
        }
    )
