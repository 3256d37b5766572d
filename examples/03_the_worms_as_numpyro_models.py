# %% [markdown]
# # The worms as NumPyro models
#
# The first two examples replaced the histogram of 1,000 worms by a simpler distribution and counted the bits that
# this costs. A Bayesian model is the same idea with the parameters unknown: it also has a price for the data, in
# bits, and an approximate posterior adds to it exactly KL(q||posterior).

# %%
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import betaln, gammaln

import vi_kl
from vi_kl.demo.worms import models as worms
from vi_kl.demo.worms.data import TEETH, WORMS
from vi_kl.report import figures as plots

# %% [markdown]
# ## A model
#
# Ten places for a tooth, each filled with the same unknown probability p. One line per number of teeth is enough:
# `scale` counts it as many times as there are worms.


# %%
def binomial(teeth, counts):
    p = numpyro.sample("p", dist.Beta(1, 1))
    with numpyro.plate("numbers_of_teeth", len(teeth)), numpyro.handlers.scale(scale=counts):
        numpyro.sample("teeth", dist.Binomial(10, p), obs=teeth)


# %% [markdown]
# ## A target
#
# With its data the model is a target: an unnormalised posterior over an unconstrained vector z. Here z has one
# entry, the logit of p, and the density includes the Jacobian of that change.

# %%
target = vi_kl.Target.from_numpyro(binomial, TEETH, WORMS)
z = np.array([0.0])
print(target)
print(f"z = {z} stands for p = {target.constrain(z)['p']:.2f}; log density there: {target.log_density(z):.3f}")

# %% [markdown]
# ## What is known exactly
#
# The Beta prior is conjugate, so the posterior is a Beta and the evidence has a closed form. Quadrature, which
# knows neither, must find the same number.

# %%
filled = np.sum(TEETH * WORMS)
empty = np.sum((10 - TEETH) * WORMS)
arrangements = gammaln(11) - gammaln(TEETH + 1) - gammaln(11 - TEETH)
log_evidence = betaln(1 + filled, 1 + empty) - betaln(1, 1) + np.sum(WORMS * arrangements)

target = target.with_reference(
    vi_kl.reference.closed_form_reference(target, {"p": dist.Beta(1 + filled, 1 + empty)}, log_evidence)
)
print(f"posterior: Beta({1 + filled}, {1 + empty})")
print(f"log evidence, closed form: {log_evidence:.9f} nats")
print(f"log evidence, quadrature:  {vi_kl.reference.reference_by_quadrature(target).log_evidence.value:.9f} nats")

# %% [markdown]
# ## The evidence is a price
#
# -log2 evidence is the number of bits that all 1,000 worms cost when they are coded with this model. Without any
# model each worm costs log2 11 bits. A richer model is not cheaper by right: it pays for its parameters too.

# %%
print(f"{'no model':<15} {1000 * np.log2(11):9,.1f} bits")
for name, make in worms.TARGETS.items():
    price = make().reference.log_evidence.to("bits")
    print(f"{name:<15} {-price.value:9,.1f} bits   by {price.method}")

# %% [markdown]
# ## Bits back
#
# How could anyone pay that price without knowing p? By sending p along, and getting most of its cost back: draw p
# from q, send it coded by the prior, then send the worms coded by p. The choice among q's draws can itself carry
# -log2 q(p) bits of some other message, which the receiver reads off. (p and the bits back are counted to the same
# precision, so the precision cancels.) The mean of the balance is -ELBO / log 2.
#
# In z, that balance is log q(z) - log p(z, worms), which is what `sample_and_log_prob` and `log_density` give.


# %%
def balance(q, key, n=20_000):
    """The bits to send p and the worms, less the bits that come back, for n draws of p."""
    z, log_q = q.sample_and_log_prob(key, n)
    return (log_q - target.log_density(z)) / np.log(2)


fit = vi_kl.fit(target, "mean_field", key=jax.random.key(0))
q = fit.approximation
twice_as_wide = {**q.params, "log_scale": q.params["log_scale"] + np.log(2)}
wide = vi_kl.Approximation(q.family, twice_as_wide, target)

print(f"-log2 evidence       {-log_evidence / np.log(2):,.3f} bits")
for name, approximation in (("fitted q", q), ("q twice as wide", wide)):
    bits = balance(approximation, jax.random.key(1))
    kl = vi_kl.check(approximation, key=jax.random.key(2)).reverse_kl.to("bits").value
    print(
        f"{name:<20} {bits.mean():,.3f} bits on average, give or take {bits.std():.3f} from draw to draw: "
        f"KL(q||posterior) = {kl:.3f} bits"
    )

# %% [markdown]
# With the exact posterior the balance is the same for every p that is drawn: whatever p cost comes back. What it
# costs on average beyond the evidence is KL(q||posterior), and variational inference minimises just that.

# %%
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.2))
    exact = target.constrain(target.reference.sample(jax.random.key(3), 40_000))["p"]
    ours = {
        name: approximation.sample(jax.random.key(4), 40_000)["p"]
        for name, approximation in (("mean_field", q), ("twice as wide", wide))
    }
    plots.plot_marginal(ax, exact, ours, "p, the probability of a tooth")
    ax.legend()
    figure.savefig("the_worms_as_numpyro_models.png")
print("the_worms_as_numpyro_models.png written")
