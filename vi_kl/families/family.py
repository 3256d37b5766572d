"""Family: a set of candidate q over z, indexed by parameters that are free real numbers.

To add one, subclass `Family` in a file of its own with `standard`, `place` and `distribution`; everything else
follows. A family that lives on the model's own sites, where there is no standard member, has `init` in place of the
first two.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from vi_kl.core.annotations import AnyArray, KeyLike, Params
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.suggestions import NamesItsSettings
from vi_kl.families.frame import Frame
from vi_kl.families.push_forward import push_forward
from vi_kl.targets.minibatch import with_rows
from vi_kl.targets.target import Target

INITIAL_SCALE = 0.1

# u -> (z, log q(z)), of one u of shape (noise_dim,)
Push: TypeAlias = Callable[[Float[AnyArray, " noise_dim"]], tuple[Float[Array, " dim"], Float[Array, ""]]]


class Gradients(Protocol):
    """log q at points, and its gradients."""

    log_q: Float[np.ndarray, " n"]

    @property
    def slopes(self) -> Float[np.ndarray, "n dim"]:
        """The gradients of log_q by the points."""
        ...

    def pull(self, weights: Float[np.ndarray, " n"]) -> Any:
        """Return the gradients of sum(weights * log_q) by the parameters."""
        ...


class InNumpy(Protocol):
    """An image of normal noise, computed by NumPy."""

    def push(self, u: Float[np.ndarray, "n dim"]) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Return z and log q(z) at noise u."""

    def log_prob(self, z: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
        """Return log q(z)."""


class OnNoise(Protocol):
    """An image of normal noise, and the gradients of its free parameters, computed by NumPy."""

    def push(self, u: Float[np.ndarray, "n dim"]) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Return z and log q(z) at noise u."""

    def pull_back(self, u: Float[np.ndarray, "n dim"], slopes: Float[np.ndarray, "n dim"]) -> Any:
        """Return the gradient of the mean of log q - log p, from the gradients of log p at the images of noise u."""


@dataclasses.dataclass(frozen=True)
class Family(NamesItsSettings, abc.ABC):
    """A set of candidate approximations. Instances are hashable: a static part of compiled code."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The short name for tables and figures, such as "mean_field"."""

    @property
    def has_log_prob(self) -> bool:
        """Return whether log q is known, and cheap, at any z, and not only at q's own draws."""
        return True

    def require(self, target: Target) -> None:
        """Raise an error that says why this family cannot approximate the target, if it cannot."""

    @property
    def takes_frame(self) -> bool:
        """Return whether members can be written in the units of a frame."""
        return type(self).place is not Family.place

    def standard(self, key: KeyLike, target: Target) -> Params:
        """Return the parameters, a pytree of free arrays, of the member nearest to independent standard normals."""
        raise NotImplementedError(f"{type(self).__name__} has neither `standard` nor `init`.")

    def units(self, frame: Frame, target: Target | None = None) -> Any:
        """Return the part of a frame that `place` needs, computed once per fit: a pytree of arrays.

        Families that look at the target's sites need the target too.
        """
        return frame

    def place(self, params: Any, units: Any) -> Any:
        """Return the parameters in z of those given in a frame's units, in which all are of order one.

        The standard member goes to the member of this family that is nearest to the frame's normal. Gradients in the
        frame's units are what algorithms follow, and so no scale or correlation of the posterior slows them down.
        """
        return params

    def frame(self, params: Any) -> Frame | None:
        """Return the frame in which the member with these parameters is the standard one; None if there is none."""
        return None

    def normal(self, params: Any) -> Gaussian | None:
        """Return the normal that the member with these parameters is, on the host; None if it is no normal."""
        return None

    def in_numpy(self, params: Any) -> InNumpy | None:
        """Return the member with these parameters in NumPy, with nothing to compile; None if the family has no such."""
        return None

    def on_noise(self, params: Any, units: Any) -> OnNoise | None:
        """Return the member with these parameters, in a frame's units, in NumPy; None if the family has no such."""
        return None

    def reframed(self, params: Any, frame: Frame) -> Frame | None:
        """Return a new frame after a search in a frame that turned out to be a poor guess.

        It may keep a part of the old frame, which is given.
        """
        return self.frame(params)

    @property
    def shifts_and_stretches(self) -> bool:
        """Return whether a member that is shifted, and stretched along coordinates, is a member again."""
        return False

    def placed(self, params: Any, units: Any) -> Any:
        """Return `place` of the parameters, or the parameters themselves where there are no units."""
        return params if units is None else self.place(params, units)

    def init(self, key: KeyLike, target: Target) -> Params:
        """Return starting parameters in z where no frame is known: a narrow member at a random place."""
        start = Frame.around(target.initial_position(key), INITIAL_SCALE)
        return self.place(self.standard(key, target), self.units(start, target))

    def require_params(self, params: Any, target: Target) -> None:
        """Raise a ValueError unless these are a member's parameters: of its names, shapes and types, and finite."""
        key = jax.random.key(0)
        if self.takes_frame:  # a member in any frame, which asks nothing of the model
            frame = Frame.around(np.zeros(target.dim), INITIAL_SCALE)
            expected = shapes_of(self.place(self.standard(key, target), self.units(frame, target)))
        else:
            expected = shapes_of(self.init(key, target))
        found = shapes_of(params)
        if expected != found:
            raise ValueError(f"'{self.name}' has parameters {expected}, but these are {found}.")
        refuse_not_finite(params)

    @abc.abstractmethod
    def distribution(self, params: Any, target: Target) -> Distribution:
        """Return the member with these parameters: a NumPyro distribution over z, of event shape (dim,)."""

    def noise_dim(self, target: Target) -> int:
        """Return the length of the noise u that `push` takes; it is more than `dim` where q adds noises up."""
        return target.dim

    def push(self, params: Any, target: Target) -> Callable | None:
        """Return u -> (z, log q(z)) if the member is an image of standard normal noise u, else None."""
        return push_forward(self.distribution(params, target))

    def noise(self, params: Params, target: Target, key: Array, n: int) -> Array:
        """Return the random numbers that may take the key's place in `sample_and_log_prob`.

        This is the standard normal noise of n draws, (n, noise_dim), if the family makes its draws from such noise;
        else it is the key itself. It does not depend on the values of the parameters, so that a loop can make it for
        many steps.
        """
        own = type(self).sample_and_log_prob, type(self).weighted_draws
        if own != (Family.sample_and_log_prob, Family.weighted_draws) or self.push(params, target) is None:
            return key
        return jax.random.normal(key, (n, self.noise_dim(target)), dtype=float)

    def sample_and_log_prob(
        self, params: Params, target: Target, key: Array, n: int
    ) -> tuple[Float[Array, "n dim"], Float[Array, " n"]]:
        """Return n draws of z, of shape (n, dim), and log q(z), of shape (n,), both differentiable in the parameters.

        `key` is a JAX random key, or the result of `noise`.
        """
        push = self.push(params, target)
        if push is not None:
            is_noise = jnp.issubdtype(key.dtype, jnp.floating)
            noise = key if is_noise else jax.random.normal(key, (n, self.noise_dim(target)), dtype=float)
            return jax.vmap(push)(noise)
        q = self.distribution(params, target)

        def one(key):
            z, intermediates = q.sample_with_intermediates(key)
            return z, q.log_prob(z, intermediates) if intermediates else q.log_prob(z)

        return jax.vmap(one)(jax.random.split(key, n))

    def smooth_draws(self, params: Params, target: Target, key: Array, n: int) -> Float[Array, "n dim"]:
        """Return n draws of z that move with the parameters without leaps while the key stays the same."""
        return self.sample_and_log_prob(params, target, key, n)[0]

    def weighted_draws(
        self, params: Params, target: Target, key: Array, n: int
    ) -> tuple[Float[Array, "n dim"], Float[Array, " n"], Float[Array, " n"]]:
        """Return n draws of z, log q(z), and weights (n,) that add up to one, differentiable together.

        The weighted sum of f(z) is an unbiased estimate of E_q[f], and so is its derivative in the parameters. Plain
        draws do where z moves smoothly with every parameter; a mixture's weights move no draw, and it overrides this.
        """
        return *self.sample_and_log_prob(params, target, key, n), jnp.full(n, 1 / n)

    def for_minibatch(self, target: Target) -> Callable:
        """Return the form, a function of a target and rows, in which the family takes a minibatch of this target.

        `with_rows` has the latent variables of all rows, and `own_rows` those of its own rows alone.
        """
        return with_rows

    def log_prob(self, params: Params, target: Target, z: Float[AnyArray, " dim"]) -> Float[Array, ""]:
        """Return log q(z) at one z of shape (dim,)."""
        return self.distribution(params, target).log_prob(z)


def shapes_of(params: Any) -> dict[str, str]:
    """Return {place in the tree: type and shape} of parameters, such as {"['loc']": "float(3,)"}."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path): type_and_shape(np.asarray(leaf)) for path, leaf in leaves}


def type_and_shape(leaf: np.ndarray) -> str:
    return f"{leaf.dtype.name.rstrip('0123456789')}{leaf.shape}"


def refuse_not_finite(params: Any) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not np.isfinite(leaf).all():
            raise ValueError(f"parameter {jax.tree_util.keystr(path)} is not finite.")
