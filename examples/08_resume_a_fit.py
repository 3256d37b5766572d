# %% [markdown]
# # A fit that is interrupted
#
# Long fits get killed: a machine restarts, a notebook is closed, a time limit strikes. With a checkpoint, the same
# line of code goes on where the last run was, to the answer that it would have found at once.

# %%
import tempfile
from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist

import vi_kl
from vi_kl.report import figures as plots


def line(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0, 10))
    intercept = numpyro.sample("intercept", dist.Normal(0, 10))
    scale = numpyro.sample("scale", dist.HalfNormal(5))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.StudentT(4, intercept + slope * x, scale), obs=y)


rng = np.random.default_rng(1)
x = np.linspace(0, 5, 40)
y = 1.0 + 2.0 * x + rng.standard_t(4, size=40)
target = vi_kl.Target.from_numpyro(line, x, y)
folder, key = Path(tempfile.mkdtemp()), jax.random.key(0)

# %% [markdown]
# ## Stopped early
#
# `max_steps` stands in for the power cut: a fit that stops for want of steps leaves its checkpoint behind, as one that
# is killed does.

# %%
checkpoint = folder / "line.checkpoint"
stopped = vi_kl.SVI(vi_kl.FullRank(), max_steps=200).fit(key, target, checkpoint=checkpoint)
print(stopped.status)

# %% [markdown]
# ## Resumed
#
# The same target, configuration and key; the file says what it belongs to, and refuses any other fit. `max_steps` may
# differ, as it only says when to stop.

# %%
resumed = vi_kl.SVI(vi_kl.FullRank()).fit(key, target, checkpoint=checkpoint)
print(resumed.status)
at_once = vi_kl.SVI(vi_kl.FullRank()).fit(key, target)
same = [
    np.array_equal(resumed.approximation.params[name], value) for name, value in at_once.approximation.params.items()
]
print(f"the same numbers as without the interruption: {all(same)}")
print(f"gradients, both runs together: {resumed.cost.gradient_evaluations:,}")
try:
    vi_kl.SVI(vi_kl.FullRank()).fit(jax.random.key(7), target, checkpoint=checkpoint)
except ValueError as error:
    print(str(error).replace(str(folder), "..."))

# %% [markdown]
# The loss of both runs, as the checkpoint kept it:

# %%
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.2))
    plots.plot_trace(ax, [resumed], None, "nats")
    ax.axvline(200, color=plots.QUIET, linestyle="--", label="stopped here")
    ax.legend()
    figure.savefig("resume_a_fit.png")
print("resume_a_fit.png written")

# %% [markdown]
# ## Saved and loaded
#
# A finished fit is saved without the model, which is code, and without its data. It is loaded for the target that it
# was made for, and for no other.

# %%
vi_kl.save(resumed, folder / "line.vikl")
loaded = vi_kl.load(folder / "line.vikl", vi_kl.Target.from_numpyro(line, x, y))
print(loaded.status == resumed.status)
slope = np.asarray(loaded.approximation.sample(jax.random.key(1), 10_000)["slope"])
print(f"slope {slope.mean():.3f} ± {slope.std():.3f}")
try:
    vi_kl.load(folder / "line.vikl", vi_kl.Target.from_numpyro(line, x, y + 1))
except ValueError as error:
    print(str(error).replace(str(folder), "..."))
