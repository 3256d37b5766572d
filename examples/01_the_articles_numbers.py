# %% [markdown]
# # The article's numbers
#
# On a far planet, scientists have counted the teeth of 1,000 worms and want to send the distribution home with as
# few bits as they can. How many bits does a distribution take? How many more if we send a simpler one instead?
# Entropy answers the first question, the Kullback-Leibler divergence the second.

# %%
import numpy as np
from scipy.stats import binom

from vi_kl.demo.worms.data import TEETH, WORMS, observed
from vi_kl.divergences import code_lengths, cross_entropy, entropy, kl_divergence, smooth
from vi_kl.report import figures as plots

p = observed()
for teeth, worms in zip(TEETH, WORMS, strict=True):
    print(f"{teeth:2d} teeth  {worms:4d} worms  {'#' * (worms // 5)}")

# %% [markdown]
# ## Entropy: how many bits a worm takes
#
# In the best code, a count seen with probability $p$ gets a codeword of $-\log_2 p$ bits. The mean length is the
# entropy, $H(p) = -\sum p \log_2 p$.

# %%
lengths = code_lengths(p)
print(f"A worm with 5 teeth takes {lengths[5]:.2f} bits, one with a single tooth {lengths[1]:.2f}.")
print(f"On average: {p @ lengths:.2f} bits, the entropy {entropy(p, base=2):.2f}.  (The article: 3.12.)")

# %% [markdown]
# ## KL divergence: what a simpler distribution costs
#
# The uniform distribution needs no parameter, the binomial one: its mean, here that of the worms. Coding the worms
# with the code for $q$ takes the cross-entropy $H(p, q) = -\sum p \log_2 q$, and wastes
#
# $$\mathrm{KL}(p\|q) = H(p, q) - H(p) = \sum p \log_2 \frac{p}{q} \quad\text{bits per worm.}$$

# %%
uniform = np.full(11, 1 / 11)
binomial = binom.pmf(TEETH, 10, p @ TEETH / 10)

for name, q, article in (("uniform", uniform, 0.338), ("binomial", binomial, 0.477)):
    wasted = kl_divergence(p, q, base=2)
    print(f"{name:8s}  cross-entropy {cross_entropy(p, q, base=2):.3f} - entropy {entropy(p, base=2):.3f}", end="")
    print(f" = {wasted:.3f} bits wasted per worm, {1000 * wasted:.0f} in all.  (The article: {article}.)")

# %% [markdown]
# The uniform distribution, which says nothing, beats the binomial: the worms are not binomial at all.

# %%
with plots.style():
    figure, ax = plots.subplots(figsize=(7.2, 3.6))
    ax.bar(TEETH, p, width=0.9, color=plots.FILL, label="observed")
    ax.plot(TEETH, binomial, "o-", color="#0072B2", markersize=4, label="binomial")
    ax.plot(TEETH, uniform, "--", color="#D55E00", label="uniform")
    ax.set(xlabel="teeth", ylabel="share of the worms", xticks=TEETH)
    ax.legend()
    figure.savefig("the_articles_numbers.png")
print("the_articles_numbers.png written")

# %% [markdown]
# ## It is not a distance
#
# Exchange the two and the number changes. $\mathrm{KL}(p\|q)$ counts where $p$ lives, $\mathrm{KL}(q\|p)$ where $q$
# does.

# %%
print(f"KL(observed || binomial) = {kl_divergence(p, binomial, base=2):.3f} bits")
print(f"KL(binomial || observed) = {kl_divergence(binomial, p, base=2):.3f} bits  (The article: 0.330.)")

# %% [markdown]
# ## Zeros
#
# A symbol that never comes costs nothing: $0 \log 0 = 0$. A symbol that comes and that $q$ holds impossible has no
# codeword at all, and the divergence is infinite. If that is not what we mean, we give unseen symbols a little
# probability, in the open: `smooth` takes it in equal parts from the symbols that were seen.

# %%
print(f"KL((1, 0) || (1/2, 1/2)) = {kl_divergence([1, 0], [0.5, 0.5], base=2):.0f} bit")
print(f"KL((1/2, 1/2) || (1, 0)) = {kl_divergence([0.5, 0.5], [1, 0], base=2)}")

first = {"a": 3 / 5, "b": 1 / 5, "c": 1 / 5}
second = {"a": 5 / 9, "b": 3 / 9, "d": 1 / 9}
symbols = sorted(first | second)
smoothed = [smooth(histogram, symbols, epsilon=1e-3) for histogram in (first, second)]
for histogram in smoothed:
    print("  ".join(f"{symbol}: {histogram[symbol]:.6f}" for symbol in symbols))
divergence = kl_divergence(*([histogram[symbol] for symbol in symbols] for histogram in smoothed), base=2)
print(f"After smoothing the divergence is finite: {divergence:.3f} bits")
