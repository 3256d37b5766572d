# %% [markdown]
# # How far is q?
#
# A certificate says how far an approximation is from the posterior, how sure that is, and what it cannot see. Here
# are its figures on a model whose answer is known: a series of counts whose rate changes once, nobody knows when.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import vi_kl
from vi_kl.report import figures as plots
from vi_kl.targets.numpyro.enumeration import discrete_posterior

counts = np.array([4, 5, 3, 6, 4, 2, 5, 1, 0, 2, 1, 1, 0, 1, 2])


def change_point(y):
    early = numpyro.sample("early", dist.Gamma(2.0, 1.0))
    late = numpyro.sample("late", dist.Gamma(2.0, 1.0))
    change = numpyro.sample("change", dist.DiscreteUniform(0, len(y)))
    rate = jnp.where(jnp.arange(len(y)) < change, early, late)
    with numpyro.plate("years", len(y)):
        numpyro.sample("y", dist.Poisson(rate), obs=y)


# %% [markdown]
# The year of the change is discrete. Its sixteen values are summed out, and z holds the two rates.

# %%
target = vi_kl.Target.from_numpyro(change_point, counts)
print(target)
fit = vi_kl.fit(target, "full_rank", key=jax.random.key(0))
print(vi_kl.check(fit, key=jax.random.key(1)))

# %% [markdown]
# That was without a reference: the limit on KL is proved by draws of q alone, whatever the tails of the weights. With
# the reference, here by quadrature, the figures are exact. The limit lay below the KL, as it has to.

# %%
certificate = vi_kl.check(fit, vi_kl.find_reference, key=jax.random.key(1))
print(certificate.to("bits"))

# %% [markdown]
# Is the family to blame, or the optimiser? And what can a normal not follow?

# %%
print(vi_kl.explain_gap(fit, vi_kl.find_reference, key=jax.random.key(2)))

# %% [markdown]
# When did the rate change? The probabilities of the discrete site are averaged over draws of q.

# %%
z, _ = fit.approximation.sample_and_log_prob(jax.random.key(3), 4000)
probabilities = discrete_posterior(target, z)["change"].mean(axis=0).ravel()
for year, probability in enumerate(probabilities):
    print(f"{year:3d} {'#' * round(60 * probability)} {probability:.3f}")
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.2))
    ax.bar(range(len(counts)), counts, color=plots.FILL, label="counts")
    ax.plot(np.arange(len(probabilities)) - 0.5, 10 * probabilities, "o-", color="#0072B2", label="10 × P(change here)")
    ax.set(xlabel="year")
    ax.legend()
    figure.savefig("how_far_is_q.png")
print("how_far_is_q.png written")

# %% [markdown]
# Nothing stops the labels of the two rates from changing places if the prior does not know which comes first; here
# the years do. Where two modes exist, q covers one, and k-hat is content. Climbs from around q are not.

# %%
two = vi_kl.Target.from_log_density(lambda z: jnp.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - 20) ** 2), 1)
print(vi_kl.check(vi_kl.fit(two, "mean_field", key=jax.random.key(4)), key=jax.random.key(5)).verdict)
