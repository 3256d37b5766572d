# %% [markdown]
# # The two directions
#
# `project` finds the member of a family nearest to $p$. Near in which direction? $\mathrm{KL}(p\|q)$, *forward*, is
# large where $p$ has probability and $q$ has none, so its minimum covers all of $p$. $\mathrm{KL}(q\|p)$, *reverse*,
# is large where $q$ has probability and $p$ has none, so its minimum stays inside $p$: the objective of variational
# inference.

# %%
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.demo.worms.data import observed
from vi_kl.divergences import kl_divergence, project
from vi_kl.report import figures as plots

weights, humps = jnp.array([0.4, 0.6]), dist.Normal(jnp.array([-3.0, 3.0]), jnp.array([0.7, 1.0]))
p = dist.MixtureSameFamily(dist.Categorical(weights), humps)

# %% [markdown]
# ## Two humps, one normal
#
# Forward onto a normal nothing has to be searched: the nearest one has $p$'s mean and variance. In reverse there is
# a minimum at each hump, and each costs about what it leaves out: minus the logarithm of the share it keeps.

# %%
forward = project(p, dist.Normal, direction="forward")
reverse = project(p, dist.Normal, direction="reverse")
for nearest in (forward, reverse):
    loc, scale = nearest.params["loc"], nearest.params["scale"]
    print(f"{nearest.direction}: Normal({loc:.3f}, {scale:.3f}), {nearest.divergence:.3f} nats, by {nearest.method}")
    print(f"  {nearest.status}")
print("what a single hump leaves out:", ", ".join(f"{-np.log(share):.3f} nats" for share in weights))

# %% [markdown]
# The picture: either member is the best in its own direction, and poor in the other.

# %%
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.6))
    plots.plot_projections(ax, p, {"forward: covers both": forward, "reverse: settles on one": reverse})
    figure.savefig("two_directions.png")
print("two_directions.png written")

# %% [markdown]
# ## Pythagoras
#
# A forward projection onto an exponential family splits every other divergence like a right angle does: from $p$ to
# the nearest member, and from there to any member $q$, $\mathrm{KL}(p\|q) = \mathrm{KL}(p\|q^*) + \mathrm{KL}(q^*\|q)$.
# Here with the worms, and all binomials.

# %%
worms = observed()
nearest = project(worms, dist.Binomial)
teeth = jnp.arange(11)


def pmf(success):
    return np.exp(dist.Binomial(10, success).log_prob(teeth))


best = nearest.params["probs"]
print(f"nearest binomial: {best:.4f}, {nearest.method}")
for other in (0.3, 0.5, 0.7):
    whole = kl_divergence(worms, pmf(other), normalize=True)
    parts = kl_divergence(worms, pmf(best), normalize=True), kl_divergence(pmf(best), pmf(other), normalize=True)
    print(f"to Binomial(10, {other}): {whole:.5f} nats = {parts[0]:.5f} + {parts[1]:.5f}")

# %% [markdown]
# ## Vectors
#
# With correlated coordinates, and a family that knows no correlation, both directions find the right means.
# Forward keeps the marginal standard deviations; reverse gives those that are left when the other coordinate is
# known, the overconfidence of mean-field inference.

# %%
correlated = dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.9], [0.9, 1.0]]))
for direction in ("forward", "reverse"):
    scale = project(correlated, dist.Normal, direction=direction).params["scale"]
    print(f"{direction}: standard deviations {scale.round(3)}")
