# %% [markdown]
# # KL divergence as an objective
#
# In the first example the divergence judged a distribution that was given. Now it picks one: of all binomials, all
# block models, the one that wastes the fewest bits. This is what training a model means, and what variational
# inference does with a posterior in the place of the worms.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import cross_entropy, kl_divergence, project
from vi_kl.report import figures as plots

p = observed()


@jax.jit
def binomial(success):
    """The pmf of the number of teeth when each of ten grows with probability `success`."""
    return jnp.exp(dist.Binomial(10, success).log_prob(TEETH))


@jax.jit
def block(many):
    """The article's ad hoc model: probability `many` for 6 to 10 teeth, the rest for 0 to 5, each evenly."""
    return jnp.where(TEETH >= 6, many / 5, (1 - many) / 6)


# %% [markdown]
# ## One parameter: look at the curve, then find its minimum

# %%
print("parameter   binomial   block   (bits)")
for x in np.linspace(0.1, 0.9, 9):
    print(f"{x:9.1f} {kl_divergence(p, binomial(x), base=2):10.3f} {kl_divergence(p, block(x), base=2):7.3f}")

for name, family, article in (("binomial", binomial, "0.57 and 0.477"), ("block", block, "0.47 and 0.338")):
    nearest = project(p, family, init=0.5, support=constraints.unit_interval, base=2)
    print(f"\n{name}: best parameter {nearest.params:.2f}, {nearest.divergence:.3f} bits.  (The article: {article}.)")
    print(f"  {nearest.status}")

# %% [markdown]
# The best binomial has the worms' own mean, and the best block their own share of six teeth and more: minimising
# $\mathrm{KL}(p\|q)$ is maximum likelihood.
#
# ## Cross-entropy trains the same model
#
# $\mathrm{KL}(p\|q) = H(p, q) - H(p)$, and no parameter of $q$ moves $H(p)$. So both have the same gradient, and
# minimising one minimises the other.

# %%
divergence_slope = jax.jit(jax.grad(lambda x: kl_divergence(jnp.asarray(p), binomial(x))))
cross_entropy_slope = jax.jit(jax.grad(lambda x: cross_entropy(jnp.asarray(p), binomial(x))))
for x in (0.3, 0.57, 0.8):
    print(f"at {x:.2f}: slope of KL {divergence_slope(x):8.4f}, of the cross-entropy {cross_entropy_slope(x):8.4f}")

# %% [markdown]
# ## The two directions
#
# The worms have a second hump, near nine teeth. *Forward*, $\mathrm{KL}(p\|q)$ makes $q$ give probability to
# whatever $p$ does. *Reverse*, $\mathrm{KL}(q\|p)$ makes $q$ avoid what $p$ avoids: it may settle on one hump and
# ignore the other. Variational inference minimises the reverse one.

# %%
for direction, formula in (("forward", "KL(p||q)"), ("reverse", "KL(q||p)")):
    nearest = project(p, binomial, init=0.5, support=constraints.unit_interval, direction=direction, base=2)
    print(f"{direction}: p = {nearest.params:.3f}, {formula} = {nearest.divergence:.3f} bits")

# %% [markdown]
# The picture: each curve has its minimum elsewhere.

# %%
grid = np.linspace(0.3, 0.8, 101)
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.6))
    pmfs = [np.asarray(binomial(x), dtype=float) for x in grid]
    pmfs = [pmf / pmf.sum() for pmf in pmfs]
    ax.plot(grid, [kl_divergence(p, pmf, base=2) for pmf in pmfs], color="#0072B2", label="KL(p‖q), forward")
    ax.plot(grid, [kl_divergence(pmf, p, base=2) for pmf in pmfs], "--", color="#D55E00", label="KL(q‖p), reverse")
    ax.set(xlabel="the binomial's parameter", ylabel="bits a worm", ylim=(0, 2))
    ax.legend()
    figure.savefig("kl_as_objective.png")
print("kl_as_objective.png written")

# %% [markdown]
# ## Several parameters: two kinds of worms
#
# Two binomials, mixed: three parameters, and a fifth of the waste.


# %%
def two_kinds(params):
    return params["share"] * binomial(params["few"]) + (1 - params["share"]) * binomial(params["many"])


nearest = project(
    p,
    two_kinds,
    init={"share": 0.5, "few": 0.4, "many": 0.8},
    support=dict.fromkeys(("share", "few", "many"), constraints.unit_interval),
    base=2,
)
for name, value in nearest.params.items():
    print(f"{name:6s} {value:.3f}")
print(f"{nearest.divergence:.3f} bits wasted per worm; {nearest.status}")
