"""Family: a set of candidate q over z, indexed by parameters that are free real numbers.

To add one, subclass `Family` in a file of its own with `init` and `distribution`; everything else follows.
"""

import abc
import dataclasses
from typing import Any

from numpyro.distributions import Distribution

from vi_kl.target.target import Target


@dataclasses.dataclass(frozen=True)
class Family(abc.ABC):
    """A set of candidate approximations. Instances are hashable: a static part of compiled code."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """A short name for tables and figures, such as "mean_field"."""

    @property
    def has_log_prob(self) -> bool:
        """Whether log q is known, and cheap, at any z, and not only at q's own draws."""
        return True

    def require(self, target: Target) -> None:
        """Raise an error that says why where this family cannot approximate the target."""

    @abc.abstractmethod
    def init(self, key, target: Target) -> Any:
        """Starting parameters: a pytree of unconstrained arrays."""

    @abc.abstractmethod
    def distribution(self, params: Any, target: Target) -> Distribution:
        """The member with these parameters: a NumPyro distribution over z, event shape (dim,)."""

    def sample_and_log_prob(self, params: Any, target: Target, key):
        """One draw z of shape (dim,) and log q(z), both differentiable in the parameters."""
        q = self.distribution(params, target)
        z, intermediates = q.sample_with_intermediates(key)
        return z, q.log_prob(z, intermediates) if intermediates else q.log_prob(z)

    def log_prob(self, params: Any, target: Target, z):
        """log q(z) at one z of shape (dim,)."""
        return self.distribution(params, target).log_prob(z)
