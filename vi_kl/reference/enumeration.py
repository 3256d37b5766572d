"""ReferencePosterior by enumeration: the exact posterior of a model all of whose latent sites are discrete.

Every joint configuration of the sites is listed with its probability, so evidence, marginals and both directions of
KL are finite sums. Use it where there are a few thousand configurations at most; a model with continuous sites too
makes a Target, which sums its discrete sites out (vi_kl/targets/numpyro/enumerated_model.py).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import numpyro.distributions as dist
from numpyro.distributions import Distribution
from scipy.special import logsumexp

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import as_float64, in_float64
from vi_kl.divergences.discrete import kl_divergence
from vi_kl.targets.numpyro.discrete_sites import DiscreteSite, by_site, configurations, fill
from vi_kl.targets.numpyro.enumerated_model import BLOCK, EnumeratedModel
from vi_kl.targets.numpyro.source import model_to_enumerate

ROUNDING = 1e-9  # error of a pmf's sum


@dataclasses.dataclass(frozen=True)
class EnumeratedPosterior:
    """A posterior over the joint configurations of a model's discrete sites, computed exactly.

    Attributes:
        log_evidence: the log evidence in nats, a finite sum.
        configurations: {site: values in every configuration, of shape (N, *shape)}.
        log_probs: the log posterior probability of every configuration, of shape (N,).
    """

    log_evidence: Estimate
    configurations: Mapping[str, np.ndarray]
    log_probs: np.ndarray
    discrete: tuple[DiscreteSite, ...] = dataclasses.field(repr=False)

    @property
    def probs(self) -> np.ndarray:
        """The posterior probability of every configuration, of shape (N,), adding up to one."""
        return np.exp(self.log_probs)

    def support(self, site: str) -> np.ndarray:
        """Return the values that a site's entries can take, in the order of `marginals`' last axis."""
        return np.array(self.find(site).support)

    def marginals(self, site: str) -> np.ndarray:
        """Return the posterior probabilities of the values of each entry of a site, (*shape of its entries, K)."""
        found = self.find(site)
        index = by_site(self.discrete, configurations(self.discrete))[found]
        probs = np.stack([self.probs @ (index == k) for k in range(found.num_values)], axis=-1)
        return probs.reshape(*found.batch_shape, found.num_values)

    def find(self, name: str) -> DiscreteSite:
        """Return the discrete site of this name; ValueError is raised if there is none."""
        for site in self.discrete:
            if site.name == name:
                return site
        raise ValueError(f"No discrete site '{name}': the model has {[site.name for site in self.discrete]}.")

    @in_float64
    def reverse_kl(self, q: Mapping[str, Distribution] | npt.ArrayLike) -> Estimate:
        """Return KL(q||posterior) in nats, exactly; +inf if q reaches beyond the posterior's support.

        Args:
            q: {site: NumPyro distribution} with independent sites, or the probabilities of all configurations, (N,).

        Raises:
            ValueError: q does not name the model's sites, has another shape, or is not a pmf.
        """
        p, q = self.with_rest(q)
        return Estimate(float(kl_divergence(q, p)), 0.0, self.log_evidence.method)

    @in_float64
    def forward_kl(self, q: Mapping[str, Distribution] | npt.ArrayLike) -> Estimate:
        """Return KL(posterior||q) in nats, exactly; +inf if q misses possible values.

        The argument q is that of `reverse_kl`.
        """
        p, q = self.with_rest(q)
        return Estimate(float(kl_divergence(p, q)), 0.0, self.log_evidence.method)

    def with_rest(self, q) -> tuple[np.ndarray, np.ndarray]:
        """Return the pmfs of the posterior and q over all configurations, with everything else as a last symbol."""
        inside = False
        if isinstance(q, Mapping):
            log_q = self.log_prob_of(q)
            inside = all(stays_within(q[site.name], site.support) for site in self.discrete)
            q = np.exp(log_q)
        q = np.asarray(q, dtype=float)
        if q.shape != self.log_probs.shape:
            raise ValueError(
                f"q must hold {len(self.log_probs)} probabilities, one for each configuration, not {q.shape}."
            )
        rest = 1.0 - q.sum()
        if inside or abs(rest) < ROUNDING:
            return np.append(self.probs, 0.0), np.append(q / q.sum(), 0.0)
        return np.append(self.probs, 0.0), np.append(q, rest)

    def log_prob_of(self, q: Mapping[str, Distribution]) -> np.ndarray:
        """Return log q of every configuration, if q's sites are independent."""
        if set(q) != set(self.configurations):
            raise ValueError(f"q names the sites {sorted(q)}, the model has {sorted(self.configurations)}.")
        total = np.zeros(len(self.log_probs))
        for name, values in self.configurations.items():
            fn = jax.tree.map(as_float64, q[name])
            if tuple(fn.shape()) not in ((), values.shape[1:]):
                raise ValueError(f"q['{name}'] has shape {tuple(fn.shape())}; the model's site has {values.shape[1:]}.")
            logs = np.asarray(fn.log_prob(jnp.asarray(values)))
            total += logs.reshape(len(values), -1).sum(axis=1)
        return total


def stays_within(q: Distribution, support: tuple) -> bool:
    """Return whether all of q's own values are among these: then its pmf there misses one by rounding only."""
    while isinstance(q, dist.Independent | dist.ExpandedDistribution):
        q = q.base_dist
    return bool(q.has_enumerate_support) and bool(np.isin(q.enumerate_support(expand=False), support).all())


@in_float64
def enumerate_posterior(model: Callable, *args: Any, **kwargs: Any) -> EnumeratedPosterior:
    """Return the exact posterior of a NumPyro model whose latent sites are all discrete.

    Args:
        model: a NumPyro model.
        *args: the arguments that the model is called with, as for `Target.from_numpyro`.
        **kwargs: likewise.

    Raises:
        ModelError: there is a continuous latent site, or a site whose values cannot be listed, or more configurations
            than 4,096; or the data have probability zero under every configuration.
    """
    density, data = model_to_enumerate(model, args, kwargs)
    table = configurations(density.discrete)
    log_joint = np.asarray(log_joint_of_all(density, data, table))
    log_evidence = refuse_impossible(density, log_joint)
    values = {name: np.asarray(x) for name, x in fill(density.discrete, table).items()}
    evidence = Estimate(log_evidence, 0.0, f"enumeration of {len(table):,} configurations")
    return EnumeratedPosterior(evidence, values, log_joint - log_evidence, density.discrete)


def refuse_impossible(density: EnumeratedModel, log_joint) -> float:
    """Return the log evidence, or raise an error that says why there is no posterior."""
    if np.isnan(log_joint).any():
        raise ValueError(
            f"The log probability of model '{density}' is NaN in some configuration: is its data complete?"
        )
    log_evidence = float(logsumexp(log_joint))
    if not np.isfinite(log_evidence):
        raise ValueError(f"No configuration of model '{density}' can have made this data: the evidence is zero.")
    return log_evidence


@compiled(static=("density",), unoptimized=True)
def log_joint_of_all(density: EnumeratedModel, data, table):
    return jax.lax.map(lambda row: density.log_joint(data, {}, row), table, batch_size=BLOCK)
