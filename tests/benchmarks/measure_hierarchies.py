"""Measure fits of hierarchies, whose densities have no mode or one far from the mass, against what is known of them.

    python tests/benchmarks/measure_hierarchies.py --groups 8 40 160 --keys 20 --methods default mean_field

Three models, each with new data and a new key for every row: "centred" and "non_centred", a normal hierarchy with mean,
spread and noise unknown, by 5 observations a group; "precision", one observation a group and a log-normal precision.
Data are "strong" (spread three times the noise of a group's mean, or equal to it) or "weak" (a fourth).

The groups' own numbers integrate out by hand, so that quadrature over what is left gives log_tau's mean and sd and the
evidence; under independent normals every expectation of the log density is a formula, so that the best mean field is
an optimisation over two or six numbers. The figures, over the keys:

    foreign    errors that are not vi_kl's own: must be 0
    refused    errors of vi_kl's own
    converged  fits that say so
    false      of these, those more than half a nat (and two thousandths) below the best mean field
    lowest     the smallest ELBO of a fit less that of the best mean field, and its median beside it
    gap        log evidence - ELBO, the median
    log_tau    the largest |mean - exact mean| in exact sds, and the median
    gradients, seconds    medians
"""

import argparse
import math
import time
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.optimize import minimize
from scipy.special import logsumexp

import vi_kl
from vi_kl.algorithms.algorithm import FitError
from vi_kl.targets.target import log_density_in_chunks

OBSERVATIONS = 5
LOG_2PI = math.log(2 * math.pi)
PRIOR_SD = 5.0


def precision(x):
    log_tau = numpyro.sample("log_tau", dist.Normal(0, 1))
    with numpyro.plate("groups", len(x)):
        mu = numpyro.sample("mu", dist.Normal(0, jnp.exp(-log_tau / 2)))
        numpyro.sample("x", dist.Normal(mu, 1), obs=x)


def tops():
    mu = numpyro.sample("mu", dist.Normal(0, PRIOR_SD))
    scales = (numpyro.sample(name, dist.HalfNormal(PRIOR_SD)) for name in ("tau", "sigma"))
    return mu, *scales


def centred(x):
    mu, tau, sigma = tops()
    with numpyro.plate("groups", len(x)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    numpyro.sample("x", dist.Normal(theta[:, None], sigma).to_event(2), obs=x)


def non_centred(x):
    mu, tau, sigma = tops()
    with numpyro.plate("groups", len(x)):
        eps = numpyro.sample("eps", dist.Normal(0, 1))
    numpyro.sample("x", dist.Normal((mu + tau * eps)[:, None], sigma).to_event(2), obs=x)


MODELS = {"precision": precision, "centred": centred, "non_centred": non_centred}


def data(kind: str, strength: str, groups: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, groups])
    if kind == "precision":
        tau = 1.0 if strength == "strong" else 0.25
        return tau * generator.standard_normal(groups) + generator.standard_normal(groups)
    tau = (3.0 if strength == "strong" else 0.25) / np.sqrt(OBSERVATIONS)
    theta = 1 + tau * generator.standard_normal(groups)
    return theta[:, None] + generator.standard_normal((groups, OBSERVATIONS))


# What is known ---------------------------------------------------------------------------------------------------


def exact(kind: str, x: np.ndarray) -> tuple[float, float, float]:
    """log evidence, and the mean and sd of log_tau."""
    grid = np.linspace(-14, 8, 4001)
    log_p = log_marginal_of_precision(grid, x) if kind == "precision" else log_marginal_of_spread(grid, x)
    log_evidence = logsumexp(log_p) + np.log(grid[1] - grid[0])
    weights = np.exp(log_p - logsumexp(log_p))
    mean = weights @ grid
    return float(log_evidence), float(mean), float(np.sqrt(weights @ (grid - mean) ** 2))


def log_marginal_of_precision(log_tau, x):
    variance = 1 + np.exp(-log_tau)
    fit = -0.5 * len(x) * (LOG_2PI + np.log(variance)) - 0.5 * np.sum(x**2) / variance
    return fit - 0.5 * (LOG_2PI + log_tau**2)


def log_marginal_of_spread(log_tau, x):
    """Of log tau, with the groups and mu integrated out by hand and log sigma on a grid."""
    groups, n = x.shape
    means, within = x.mean(axis=1), np.sum((x - x.mean(axis=1, keepdims=True)) ** 2)
    sd = 1 / np.sqrt(2 * groups * (n - 1))
    log_sigma = 0.5 * np.log(within / (groups * (n - 1))) + np.linspace(-9 * sd, 9 * sd, 161)[:, None]
    sigma2 = np.exp(2 * log_sigma)
    variance = np.exp(2 * log_tau) + sigma2 / n
    centre, spread = means.mean(), np.sum((means - means.mean()) ** 2)
    # the mean of the means is N(0, PRIOR_SD^2 + variance / groups); what is left of them is about it
    of_centre = PRIOR_SD**2 + variance / groups
    log_p = -0.5 * (LOG_2PI + np.log(of_centre) + centre**2 / of_centre)
    log_p += -0.5 * ((groups - 1) * (LOG_2PI + np.log(variance)) + spread / variance + np.log(groups))
    log_p += -0.5 * groups * ((n - 1) * (LOG_2PI + np.log(sigma2)) + np.log(n)) - 0.5 * within / sigma2
    log_p += log_scale_prior(log_tau, 0.0) + log_scale_prior(log_sigma, 0.0)
    return logsumexp(log_p, axis=0) + np.log(log_sigma[1, 0] - log_sigma[0, 0])


def log_scale_prior(loc, sd):
    """The expectation of the half-normal's log density of exp(z), and z, over N(loc, sd^2)."""
    square = np.exp(2 * loc + 2 * sd**2)
    return np.log(2) - 0.5 * LOG_2PI - np.log(PRIOR_SD) - square / (2 * PRIOR_SD**2) + loc


def normal_entropy(sd):
    return 0.5 * (1 + LOG_2PI) + np.log(sd)


def best_mean_field(kind: str, x: np.ndarray) -> float:
    """The ELBO of the best independent normals; the groups' own are formulas of the others'."""
    if kind == "precision":
        starts = [np.array([lt, -1.0]) for lt in (-1.0, 1.0, 3.0)]
    else:
        starts = [np.array([x.mean(), -1.0, lt, -1.0, np.log(x.std()), -2.0]) for lt in (-2.0, -1.0, 0.0, 1.0)]
    elbo = {"precision": elbo_of_precision, "centred": elbo_of_centred, "non_centred": elbo_of_non_centred}[kind]
    with np.errstate(all="ignore"):
        found = [minimize(lambda p: np.nan_to_num(-elbo(p, x), nan=1e10, posinf=1e10), s, tol=1e-9) for s in starts]
    return -min(result.fun for result in found)


def elbo_of_precision(params, x):
    loc, sd = params[0], np.exp(params[1])
    tau = np.exp(loc + sd**2 / 2)
    variance, mean = 1 / (1 + tau), x / (1 + tau)
    prior = -0.5 * (LOG_2PI + loc**2 + sd**2)
    groups = -0.5 * LOG_2PI + loc / 2 - tau / 2 * (mean**2 + variance)
    fit = -0.5 * LOG_2PI - 0.5 * ((x - mean) ** 2 + variance)
    return prior + normal_entropy(sd) + np.sum(groups + fit + normal_entropy(np.sqrt(variance)))


def elbo_of_tops(params):
    mu, mu_sd, lt, lt_sd, ls, ls_sd = (
        params[0],
        *np.exp(params[1:2]),
        params[2],
        *np.exp(params[3:4]),
        *(
            params[4],
            np.exp(params[5]),
        ),
    )
    prior = -0.5 * (LOG_2PI + 2 * np.log(PRIOR_SD) + (mu**2 + mu_sd**2) / PRIOR_SD**2)
    prior += log_scale_prior(lt, lt_sd) + log_scale_prior(ls, ls_sd)
    return prior + sum(map(normal_entropy, (mu_sd, lt_sd, ls_sd))), (mu, mu_sd, lt, lt_sd, ls, ls_sd)


def elbo_of_centred(params, x):
    elbo, (mu, mu_sd, lt, lt_sd, ls, ls_sd) = elbo_of_tops(params)
    n, means = x.shape[1], x.mean(axis=1)
    between, noise = np.exp(-2 * lt + 2 * lt_sd**2), np.exp(-2 * ls + 2 * ls_sd**2)
    variance = 1 / (between + n * noise)
    theta = variance * (between * mu + n * noise * means)
    groups = -0.5 * LOG_2PI - lt - between / 2 * ((theta - mu) ** 2 + variance + mu_sd**2)
    squares = np.sum((x - means[:, None]) ** 2, axis=1) + n * ((means - theta) ** 2 + variance)
    fit = -n * (0.5 * LOG_2PI + ls) - noise / 2 * squares
    return elbo + np.sum(groups + fit + normal_entropy(np.sqrt(variance)))


def elbo_of_non_centred(params, x):
    elbo, (mu, mu_sd, lt, lt_sd, ls, ls_sd) = elbo_of_tops(params)
    n, means = x.shape[1], x.mean(axis=1)
    tau, tau2, noise = np.exp(lt + lt_sd**2 / 2), np.exp(2 * lt + 2 * lt_sd**2), np.exp(-2 * ls + 2 * ls_sd**2)
    variance = 1 / (1 + n * noise * tau2)
    eps = variance * n * noise * tau * (means - mu)
    groups = -0.5 * (LOG_2PI + eps**2 + variance)
    squares = (means - mu) ** 2 + mu_sd**2 - 2 * (means - mu) * tau * eps + tau2 * (eps**2 + variance)
    squares = np.sum((x - means[:, None]) ** 2, axis=1) + n * squares
    fit = -n * (0.5 * LOG_2PI + ls) - noise / 2 * squares
    return elbo + np.sum(groups + fit + normal_entropy(np.sqrt(variance)))


# What is found ---------------------------------------------------------------------------------------------------


def measure(kind: str, strength: str, groups: int, seed: int, method: str) -> dict:
    x = data(kind, strength, groups, seed)
    target = vi_kl.Target.from_numpyro(MODELS[kind], x)
    began = time.perf_counter()
    try:
        fit = vi_kl.fit(target, None if method == "default" else method, key=jax.random.key(seed))
    except FitError as error:
        return {"refused": 1, "why": str(error)[:200]}
    except Exception as error:
        traceback.print_exc()
        return {"foreign": 1, "why": repr(error)[:200]}
    row = {"seconds": time.perf_counter() - began, "gradients": fit.cost.gradient_evaluations}
    z, log_q = map(np.asarray, fit.approximation.sample_and_log_prob(jax.random.key(1), 4096))
    elbo = float(np.mean(log_density_in_float64(target, z) - log_q))
    log_evidence, mean, sd = exact(kind, x)
    column = target.coordinate_names.index("log_tau" if kind == "precision" else "tau")
    row |= {
        "converged": bool(fit.status.converged),
        "above": elbo - best_mean_field(kind, x),
        "gap": log_evidence - elbo,
        "log_tau": abs(z[:, column].mean() - mean) / sd,
        "why": str(fit.status)[:200],
    }
    row["false"] = row["converged"] and row["above"] < -0.5 - 0.002 * abs(elbo)
    return row


def log_density_in_float64(target, z):
    from vi_kl.core.precision import in_float64

    return in_float64(log_density_in_chunks)(target, z)


def summary(rows: list[dict]) -> str:
    def of(name):
        return [row[name] for row in rows if name in row] or [np.nan]

    counts = {name: sum(bool(row.get(name)) for row in rows) for name in ("foreign", "refused", "converged", "false")}
    return (
        "  ".join(f"{name} {count}" for name, count in counts.items())
        + f"  lowest {min(of('above')):8.2f} ({np.median(of('above')):6.2f})  gap {np.median(of('gap')):7.2f}"
        + f"  log_tau {max(of('log_tau')):6.2f} ({np.median(of('log_tau')):.2f})"
        + f"  gradients {np.median(of('gradients')):8,.0f}  seconds {np.median(of('seconds')):5.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", nargs="+", default=list(MODELS))
    parser.add_argument("--strengths", nargs="+", default=["strong", "weak"])
    parser.add_argument("--groups", nargs="+", type=int, default=[8, 20, 40, 160, 400, 1000])
    parser.add_argument("--methods", nargs="+", default=["default", "mean_field"])
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--verbose", action="store_true", help="one line for each fit")
    asked = parser.parse_args()
    for groups in asked.groups:
        for kind in asked.kinds:
            for strength in asked.strengths:
                for method in asked.methods:
                    rows = []
                    for seed in range(asked.keys):
                        rows.append(measure(kind, strength, groups, seed, method))
                        if asked.verbose:
                            print("   ", {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()})
                    print(
                        f"{groups:5} {kind:11} {strength:6} {method:10} {len(rows)} keys  {summary(rows)}", flush=True
                    )


if __name__ == "__main__":
    main()
