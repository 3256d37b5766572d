# %% [markdown]
# # A VAE that is checked
#
# A variational autoencoder of handwritten digits, and two questions that its loss curve does not answer: how far below
# the evidence its ELBO is, and whose fault that is. It takes half a minute, and Equinox and scikit-learn.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.module import eqx_module
from scipy import stats
from sklearn.datasets import load_digits

import vi_kl
from vi_kl.report import figures as plots
from vi_kl.workflows.amortisation import amortisation_gap, elbo_by_row, encode, evidence_by_row

WIDTH = 8  # hidden coordinates of a picture

# %% [markdown]
# 8 x 8 pixels of 17 grey levels. Uniform noise between the levels makes densities comparable with prices in bits.

# %%
levels = load_digits().data
rng = np.random.default_rng(0)
pictures = rng.permutation(levels + rng.uniform(size=levels.shape))
train, held_out = pictures[:1500], pictures[1500:1600]

# %% [markdown]
# The decoder is a part of the model, the encoder is the guide; both are learned with one ELBO, by minibatches.

# %%
decoder = eqx.nn.MLP(WIDTH, 64, 64, 2, jnp.tanh, key=jax.random.key(1))
encoder = eqx.nn.MLP(64, 2 * WIDTH, 64, 2, jnp.tanh, key=jax.random.key(2))


def model(pictures, batch=None):
    decode = jax.vmap(eqx_module("decoder", decoder))
    noise = numpyro.param("noise", jnp.full(64, 4.0), constraint=dist.constraints.positive)
    with numpyro.plate("pictures", len(pictures), subsample_size=batch):
        seen = numpyro.subsample(pictures, event_dim=1)
        z = numpyro.sample("z", dist.Normal(0, 1).expand([WIDTH]).to_event(1))
        numpyro.sample("pixels", dist.Normal(8 + 8 * decode(z), noise).to_event(1), obs=seen)


def guide(pictures, batch=None):
    encode = jax.vmap(eqx_module("encoder", encoder))
    with numpyro.plate("pictures", len(pictures), subsample_size=batch):
        found = encode(numpyro.subsample(pictures, event_dim=1) / 8 - 1)
        numpyro.sample("z", dist.Normal(found[:, :WIDTH], jnp.exp(found[:, WIDTH:])).to_event(1))


target = vi_kl.Target.from_numpyro(model, train, batch=100)
svi = vi_kl.SVI(vi_kl.families.Guide(guide), vi_kl.objectives.ELBO(1), step_size=0.005, decay="cosine", max_steps=3000)
fit = svi.fit(0, target)

# %% [markdown]
# The evidence of pictures that were held out, beside that of a normal with the covariance of the others.

# %%
new = encode(fit, held_out, batch=50)
elbo, _ = elbo_by_row(new, key=1)
evidence = evidence_by_row(new, key=2)
normal = stats.multivariate_normal(train.mean(0), np.cov(train.T) + 1e-3 * np.eye(64))
print(f"normal with 2,080 covariances  {normal.logpdf(held_out).mean():8.2f} nats a picture, exactly")
print(f"VAE: its ELBO                  {elbo.mean():8.2f}")
print(f"     its evidence, at least    {evidence.limits.lower / len(held_out):8.2f}, with 95% confidence")
print(f"     its evidence, estimated   {evidence.log_evidence.mean():8.2f}")

# %% [markdown]
# What the ELBO lacks, in two parts: the best independent normals are not the posterior, and the encoder does not find
# the best ones.

# %%
print(amortisation_gap(new, 3, key=3))

# %% [markdown]
# What the ELBO lacks, picture by picture: the VAE is as good as its evidence, and looks worse by this much.

# %%
with plots.style():
    figure, axes = plots.subplots(figsize=(7.2, 2.8))
    axes.hist(evidence.log_evidence - elbo, bins=20)
    axes.set(xlabel="log evidence - ELBO of a picture, nats", ylabel="pictures held out")
    figure.savefig("a_vae_checked.png")
print("a_vae_checked.png written")
