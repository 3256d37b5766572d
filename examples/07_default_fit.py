# %% [markdown]
# # A fit with no choice made
#
# A regression as it is written down the first time: kilograms, watts and calendar years as they come, an intercept
# at the year 0, wide priors. The posterior's scales lie seven orders of magnitude apart, and two of its coordinates
# have a correlation of nearly -1. `vi_kl.fit` is given the target and a key, and nothing else.

# %%
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist

import vi_kl
from vi_kl.report import figures as plots

rng = np.random.default_rng(0)
year = rng.integers(1970, 1983, 100)
weight = rng.normal(1350, 250, 100)  # kg
power = 40 * weight + rng.normal(0, 15_000, 100)  # W
litres = 0.006 * weight + 4e-5 * power - 0.3 * (year - 1976) + rng.normal(0, 1.5, 100)


def consumption(weight, power, year, litres=None):
    intercept = numpyro.sample("intercept", dist.Normal(0, 1000))
    slopes = numpyro.sample("slopes", dist.Normal(0, 10).expand([3]).to_event(1))
    noise = numpyro.sample("noise", dist.HalfNormal(10))
    mean = intercept + slopes[0] * weight + slopes[1] * power + slopes[2] * year
    with numpyro.plate("cars", len(year)):
        numpyro.sample("litres", dist.Normal(mean, noise), obs=litres)


target = vi_kl.Target.from_numpyro(consumption, weight, power, year, litres=litres)
fit = vi_kl.fit(target, key=jax.random.key(0))

# %% [markdown]
# ## What it did
#
# It climbed to the mode, took Laplace's normal there, weighed draws of it against the log density, and went on to the
# best normal, since that costs little. A flow would have come next, had the weights asked for one.

# %%
print(fit.status)
print(f"{fit.cost.gradient_evaluations:,} gradients")

# %% [markdown]
# ## Whether it is right
#
# Given the noise, the coefficients' posterior is known: nearly least squares, under priors as wide as these.

# %%
sites = fit.approximation.sample(jax.random.key(1), 20_000)
draws = np.column_stack([sites["intercept"], sites["slopes"]])
design = np.column_stack([np.ones(100), weight, power, year])
coefficients, squares = np.linalg.lstsq(design, litres, rcond=None)[:2]
errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * squares / (100 - 4))
names = ("intercept", "weight", "power", "year")
for name, q, estimate, error in zip(names, draws.T, coefficients, errors, strict=True):
    print(f"{name:<10} q {q.mean():11.4g} ± {q.std():<9.3g} least squares {estimate:11.4g} ± {error:.3g}")

# %% [markdown]
# In units of the least squares' standard errors, so that all four fit into one picture:

# %%
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 2.8))
    ax.axvspan(-1, 1, color=plots.FILL, linewidth=0, label="least squares ±1 standard error")
    centres = (draws.mean(axis=0) - coefficients) / errors
    ax.errorbar(centres, range(4), xerr=draws.std(axis=0) / errors, fmt="o", color="#0072B2", label="q ±1 sd")
    ax.set(yticks=range(4), yticklabels=names, ylim=(-0.6, 4.4), xlabel="standard errors from least squares")
    ax.legend(loc="upper right", ncols=2)
    figure.savefig("default_fit.png")
print("default_fit.png written")

# %% [markdown]
# Without a second opinion, the certificate says how far q is, and what it cannot see.

# %%
print(vi_kl.check(fit, key=jax.random.key(2)))
