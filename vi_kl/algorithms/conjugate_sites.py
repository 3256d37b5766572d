"""The distributions that coordinate ascent knows, each for all entries of one site together.

Each is an exponential family, whose log density is linear in statistics of the site. Statistics are taken in the
site's own units, (z - centre) / scale in unconstrained coordinates, so that linear algebra with them is well
conditioned. Real sites are one multivariate normal; the entries of other sites are independent of one another.
"""

import abc
import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy.special import digamma, expit

from vi_kl.core.cholesky import tril_of_covariance
from vi_kl.core.gaussian import Gaussian
from vi_kl.families.gaussian import full_rank_params, scale_tril


@dataclasses.dataclass(frozen=True)
class ConjugateSite(abc.ABC):
    """A latent site, and the family of its complete conditional.

    Attributes:
        name: the site's name.
        shape: the site's shape.
        size: the number of its entries.
    """

    name: str
    shape: tuple[int, ...]
    size: int

    @abc.abstractmethod
    def design(self) -> np.ndarray:
        """Return points, (1 + number of statistics, size), in the site's units, at which log densities are evaluated.

        The values there determine any function that is linear in the statistics.
        """

    @abc.abstractmethod
    def statistics(self, v: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the statistics, (n, number of statistics), at v of shape (n, size) in the site's units."""

    @abc.abstractmethod
    def member(self, slopes: np.ndarray, centre, scale) -> dict | None:
        """Return the parameters of the density exp(slopes . statistics); None if it cannot be normalised."""

    @abc.abstractmethod
    def expected(self, member: dict, centre, scale) -> np.ndarray:
        """Return the expected statistics."""

    @abc.abstractmethod
    def entropy(self, member: dict) -> float:
        """Return the entropy in nats, in the space that the model sees."""

    @abc.abstractmethod
    def free(self, member: dict) -> dict:
        """Return the parameters as real numbers, for the guide."""

    @abc.abstractmethod
    def distribution(self, param):
        """Return the NumPyro distribution; `param(label, shape)` is a real parameter."""


class NormalSite(ConjugateSite):
    """A real site, with one multivariate normal for all of its entries."""

    kind = "normal"

    def design(self):
        corner = np.eye(self.size)
        pairs = [corner[i] + corner[j] for i, j in itertools.combinations(range(self.size), 2)]
        return np.concatenate([np.zeros((1, self.size)), corner, -corner, np.reshape(pairs, (-1, self.size))])

    def statistics(self, v, centre, scale):
        i, j = np.triu_indices(self.size)
        return np.concatenate([v, v[:, i] * v[:, j]], axis=1)

    def member(self, slopes, centre, scale):
        precision = np.zeros((self.size, self.size))
        precision[np.triu_indices(self.size)] = -slopes[self.size :]
        precision = precision + precision.T
        try:
            np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            return None
        covariance = np.linalg.inv(precision)
        loc = centre + scale * (covariance @ slopes[: self.size])
        return {"loc": loc, "covariance": np.outer(scale, scale) * covariance}

    def expected(self, member, centre, scale):
        mean = (member["loc"] - centre) / scale
        second = member["covariance"] / np.outer(scale, scale) + np.outer(mean, mean)
        return np.concatenate([mean, second[np.triu_indices(self.size)]])

    def entropy(self, member):
        return Gaussian.of_covariance(member["loc"], member["covariance"]).entropy

    def free(self, member):
        return full_rank_params(member["loc"], tril_of_covariance(member["covariance"]))

    def distribution(self, param):
        sizes = {"loc": self.size, "log_scale": self.size, "below": self.size * (self.size - 1) // 2}
        params = {label: param(label, (size,)) for label, size in sizes.items()}
        if self.shape == ():
            return dist.Normal(params["loc"][0], jnp.exp(params["log_scale"][0]))
        normal = dist.MultivariateNormal(params["loc"], scale_tril=scale_tril(params))
        if len(self.shape) == 1:
            return normal
        return dist.TransformedDistribution(normal, dist.transforms.ReshapeTransform(self.shape, (self.size,)))


class TwoParameterSite(ConjugateSite):
    """A site of independent entries with two positive parameters `a` and `b` and two statistics each."""

    def design(self):
        corner = np.eye(self.size)
        return np.concatenate([np.zeros((1, self.size)), corner, -corner])

    def free(self, member):
        return {f"log_{label}": jnp.log(member[label].reshape(self.shape)) for label in ("a", "b")}

    def checked(self, a, b):
        """Return the parameters, or None unless all are positive."""
        return {"a": a, "b": b} if (a > 0).all() and (b > 0).all() else None

    def distribution(self, param):
        return self.build(*(jnp.exp(param(f"log_{label}", self.shape)) for label in ("a", "b")))


class GammaSite(TwoParameterSite):
    """A positive site, with independent gamma distributions."""

    kind, build, sign = "gamma", dist.Gamma, 1.0

    def statistics(self, v, centre, scale):
        return np.concatenate([v, np.exp(self.sign * scale * v)], axis=1)

    def member(self, slopes, centre, scale):
        first, second = np.split(slopes, 2)
        shape = self.sign * (first / scale + 1)  # the slopes are those of the density of x, not of log x
        return self.checked(shape, -second * np.exp(-self.sign * centre))

    def expected(self, member, centre, scale):
        log_mean = self.sign * (digamma(member["a"]) - np.log(member["b"]))
        mean = member["a"] / member["b"] * np.exp(-self.sign * centre)
        return np.concatenate([(log_mean - centre) / scale, mean])

    def entropy(self, member):
        from scipy.stats import gamma  # imported here, as it takes a second

        return float(gamma.entropy(member["a"], scale=1 / member["b"]).sum())


class InverseGammaSite(GammaSite):
    """A positive site, with independent inverse gamma distributions: 1 / x is gamma, which `sign` -1 stands for."""

    kind, build, sign = "inverse gamma", dist.InverseGamma, -1.0

    def entropy(self, member):
        from scipy.stats import invgamma  # imported here, as it takes a second

        return float(invgamma.entropy(member["a"], scale=member["b"]).sum())


class BetaSite(TwoParameterSite):
    """A site in the unit interval, with independent beta distributions."""

    kind, build = "beta", dist.Beta

    def statistics(self, v, centre, scale):
        z = centre + scale * v
        return np.concatenate([np.log(expit(z)), np.log(expit(-z))], axis=1)

    def member(self, slopes, centre, scale):
        return self.checked(*(part + 1 for part in np.split(slopes, 2)))

    def expected(self, member, centre, scale):
        total = digamma(member["a"] + member["b"])
        return np.concatenate([digamma(member["a"]) - total, digamma(member["b"]) - total])

    def entropy(self, member):
        from scipy.stats import beta  # imported here, as it takes a second

        return float(beta.entropy(member["a"], member["b"]).sum())


@dataclasses.dataclass(frozen=True)
class ConjugateGuide:
    """A NumPyro guide in which every site has its own distribution."""

    sites: tuple[ConjugateSite, ...]
    __name__ = "coordinate_ascent"

    def __call__(self, *args, **kwargs):
        for site in self.sites:
            param = lambda label, shape, site=site: numpyro.param(f"{site.name}_{label}", jnp.zeros(shape))  # noqa: E731
            numpyro.sample(site.name, site.distribution(param))

    def params(self, members: list[dict]) -> dict:
        """Return the guide's parameters, given those of each site's distribution."""
        pairs = zip(self.sites, members, strict=True)
        return {f"{site.name}_{label}": value for site, m in pairs for label, value in site.free(m).items()}
