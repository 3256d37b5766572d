"""Approximation: one fitted q, in one interface whatever made it."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray
from numpyro.distributions import Distribution

from vi_kl.core.annotations import AnyArray, KeyLike, Params, ProgressLike
from vi_kl.core.code_hash import reads
from vi_kl.core.compilation import attached, compiled, detached
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.kept_programs import tracing
from vi_kl.core.numbers import whole_number
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key, fold_in, is_key, numpy_generator, split
from vi_kl.draws.answers import Answers
from vi_kl.draws.resampling import Resampled, resample
from vi_kl.draws.target_draws import TargetDraws, one_chain
from vi_kl.families.constrained import Constrained, SiteProduct
from vi_kl.families.family import Family
from vi_kl.families.guide import Guide, GuideDistribution
from vi_kl.families.reflected import Reflected, chosen, log_share, mirrored, weight_ratio
from vi_kl.reference.closed_form import draw_sites
from vi_kl.targets.deterministic import deterministic_sites
from vi_kl.targets.price import CHUNK
from vi_kl.targets.target import Target, constrain_in_chunks, in_chunks, log_density_in_chunks


@jax.tree_util.register_pytree_node_class
class Approximation(Answers):
    """A member of a family, fitted to a target.

    It can be asked for `summary`, `predict`, `log_likelihood` and `to_arviz` (see `vi_kl.draws.Answers`).

    Attributes:
        family: the family that it is a member of.
        params: the parameters of the member, a pytree of arrays.
        target: the target that it approximates.
    """

    def __init__(self, family: Family, params: Params, target: Target) -> None:
        self.family = family
        self.params = params
        self.target = target

    @property
    def name(self) -> str:
        return self.family.name

    @property
    @in_float64
    def distribution(self) -> Distribution:
        """The NumPyro distribution over z, its parameters in float64."""
        with tracing:
            return self.family.distribution(self.params, self.target)

    @in_float64
    def sample(self, key: KeyLike, n: int, *, deterministic: bool = True) -> dict[str, np.ndarray]:
        """Draw n values of every site, {site: (n, ...)}, in the space in which the model sees them.

        Args:
            key: a JAX random key, or an integer.
            n: the number of draws.
            deterministic: whether to add the sites that the model computes from latent ones (`numpyro.deterministic`,
                and those that a reparameterisation has replaced), as NumPyro's MCMC and Predictive give them.
        """
        key, n = asked_draws(key, n)
        return sites_at(self.target, draw(self, key, n)[0], key, deterministic)

    @in_float64
    def sample_and_log_prob(self, key: KeyLike, n: int) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Return n draws of z, of shape (n, dim), and log q(z), of shape (n,)."""
        return draw(self, *asked_draws(key, n))

    @in_float64
    def log_prob(self, z: Float[ArrayLike, "*batch dim"]) -> Float[np.ndarray, "*batch"]:
        """Return log q(z), in nats, for z of shape (dim,) or (n, dim)."""
        z = np.asarray(z, dtype=float)
        flat = log_prob_in_chunks(self, z.reshape(-1, self.target.dim))
        return flat.reshape(z.shape[:-1])

    def drawn(self, key: PRNGKeyArray, n: int | None) -> TargetDraws:
        assert n is not None, "an approximation holds no draws"
        z, log_q = self.draw_z(key, n)
        chain = None if log_q is None else np.asarray(log_q)[None]
        return TargetDraws(
            self.target, one_chain(z), key, self.name, f"variational approximation {self.name}", log_q=chain
        )

    def draw_z(self, key: PRNGKeyArray, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return n draws of z, and log q(z), or None where there is none."""
        return draw(self, key, n)

    def target_of_draws(self) -> Target:
        return self.target

    def resample(
        self,
        key: KeyLike,
        n: int,
        *,
        num_candidates: int | None = None,
        on_failure: str = "raise",
        progress: ProgressLike = None,
    ) -> Resampled:
        """Draw n values of z from q, corrected towards the posterior by Pareto-smoothed importance weights.

        Many draws of q are weighed by p/q, and n of them are kept in proportion to their weights. That makes averages
        those of the posterior where the weights' k-hat is small, and only there: above 0.7 (or a little less where
        fewer than 2,200 draws are weighed) they are refused. It mends what q is slightly wrong in, and never a mode
        that q does not visit.

        Args:
            key: a JAX random key, or an integer.
            n: the number of draws to keep.
            num_candidates: the number of draws of q to weigh; by default 16,384, or fewer where one evaluation of the
                log density is dear, and at least 4 n.
            on_failure: "raise", or "keep" draws whose k-hat is too large, marked as not reliable.
            progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or
                False; by default it is shown on a terminal and in a notebook after two seconds.

        Returns:
            A Resampled, whose `sites` has the draws; `k_hat` and `effective` say what they are worth, and they can be
            summarised, used to predict, and handed to ArviZ as q's own draws can.

        Raises:
            UnsuitableError: k-hat is too large, or q has no density.
        """
        return resample(self, key, n, num_candidates, on_failure, progress)

    def __repr__(self):
        return f"Approximation({self.name} of {self.target.density})"

    def tree_flatten(self) -> tuple[Any, Any]:
        family, arrays = detached(self.family)
        return (self.params, self.target, arrays), (family, reads(family))

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Approximation":
        params, target, arrays = children
        return cls(attached(static[0], arrays), params, target)


def sites_at(target: Target, z: Float[AnyArray, "n dim"], key: KeyLike, deterministic: bool) -> dict[str, np.ndarray]:
    """Return {site: (n, ...)} at z of shape (n, dim)."""
    latent = constrain_in_chunks(target, z)
    return latent | deterministic_sites(target, z, fold_in(key, 1)) if deterministic else latent


def asked_draws(key: Any, n: Any) -> tuple[PRNGKeyArray, int]:
    """Return a key and a number of draws from the arguments of `sample(key, n)`, after checking them."""
    if is_key(n):
        raise TypeError("The key comes first, and then the number of draws: sample(key, n).")
    return as_key(key), whole_number("n, the number of draws,", n)


def draw(q: Approximation, key: PRNGKeyArray, n: int) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
    """Draw n values of z, with log q(z), by the method that has least to compile.

    Normals are drawn by NumPy, with nothing to compile. Images of normal noise take NumPy's noise through one small
    program. Guides with independent sites of a known family are drawn by NumPy too. Anything else runs the family's
    own sampler.
    """
    normal = q.family.normal(q.params)
    if normal is not None:
        noise = noise_of(q, key, n)
        return np.asarray(normal.unwhiten(noise)), -0.5 * (noise**2).sum(axis=1) - normal.log_volume
    if isinstance(q.family, Reflected):
        return draw_reflected(q, key, n)
    if has_push(q):
        return push_in_chunks(q, noise_of(q, key, n))
    sites = site_distributions(q)
    if sites is not None:
        z = draw_sites(q.target, sites, key, n)
        return z, log_prob_in_chunks(q, z)
    keys = split(key, -(-n // CHUNK))
    pieces = [jax.tree.map(np.asarray, sample_chunk(q, k)) for k in keys]
    z, log_q = (np.concatenate(part)[:n] for part in zip(*pieces, strict=True))
    return z, log_q


def noise_of(q: Approximation, key: PRNGKeyArray, n: int) -> Float[np.ndarray, "n noise_dim"]:
    """Return the normal noise of which `draw` makes n draws with this key, of an image of such noise."""
    return numpy_generator(key).standard_normal((n, q.family.noise_dim(q.target)))


def draw_reflected(
    q: Approximation, key: PRNGKeyArray, n: int
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
    """Draw n values of a reflected member, with log q(z), by the programs of its base and of the log density."""
    assert isinstance(q.family, Reflected)
    z, images, log_q, log_p = opposite_draws(Approximation(q.family.base, q.params, q.target), key, n)
    coin = numpy_generator(fold_in(key, 1)).random(n)
    place, log_density = chosen(coin, (z, images), log_q, log_p)
    return np.asarray(place), np.asarray(log_density)


def opposite_draws(base: Approximation, key: PRNGKeyArray, n: int) -> tuple[Any, Any, tuple[Any, Any], tuple[Any, Any]]:
    """Return n draws z of an image of normal noise, their mirror images, and log q and log p of (z, images)."""
    noise = noise_of(base, key, n)
    places, log_q = push_in_chunks(base, np.concatenate([noise, -noise]))
    log_p = log_density_in_chunks(base.target, places)
    return places[:n], places[n:], (log_q[:n], log_q[n:]), (log_p[:n], log_p[n:])


def site_distributions(q: Approximation) -> dict[str, Distribution] | None:
    """Return {site: distribution} if q is written over the model's sites and they are independent, else None."""
    if not isinstance(q.family, Guide | Constrained):
        return None
    with tracing:
        distribution = q.distribution
        by_site = isinstance(distribution, GuideDistribution | SiteProduct)
        return distribution.site_distributions() if by_site else None


def is_pushed_noise(q: Approximation) -> bool:
    """Return whether q is an image of as many normal noises as it has dimensions, so that z determines the noise."""
    return q.family.noise_dim(q.target) == q.target.dim and has_push(q)


@in_float64
def has_push(q: Approximation) -> bool:
    """Return whether q is an image of normal noise, found by abstract evaluation: no parameter is computed."""
    found = []
    with tracing:
        jax.eval_shape(lambda q: found.append(q.family.push(q.params, q.target) is not None), q)
    return found[0]


def push_in_chunks(
    q: Approximation, u: Float[AnyArray, "n noise_dim"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
    """Return z and log q(z) at noise u, of an image of normal noise, for any n."""
    by_numpy = q.family.in_numpy(q.params)
    if by_numpy is not None:
        return by_numpy.push(np.asarray(u))
    return in_chunks(functools.partial(push_batch, q), u)


@compiled(unoptimized=True)
def push_batch(q: Approximation, u: Float[AnyArray, "n noise_dim"]) -> tuple[Any, Any]:
    """Return z and log q(z) at noise u of shape (n, dim)."""
    push = q.family.push(q.params, q.target)
    assert push is not None, "asked of an image of normal noise only"
    return jax.vmap(push)(u)


@compiled(unoptimized=True)
def sample_chunk(q: Approximation, key: PRNGKeyArray) -> tuple[Any, Any]:
    return q.family.sample_and_log_prob(q.params, q.target, key, CHUNK)


@compiled(unoptimized=True)
def log_prob_batch(q: Approximation, z: Float[AnyArray, "n dim"]) -> Any:
    return jax.vmap(lambda one: q.family.log_prob(q.params, q.target, one))(z)


@compiled(unoptimized=True)
def mirrored_batch(q: Approximation, z: Float[AnyArray, "n dim"]) -> tuple[Any, Any, Any]:
    """Return log q(z), the mirror image of z and log q there, of a reflected member's base, at z of (n, dim)."""
    assert isinstance(q.family, Reflected)
    return jax.vmap(functools.partial(mirrored, q.family.base.distribution(q.params, q.target)))(z)


def reflected(q: Approximation) -> Approximation:
    """Return q with each draw moved to its mirror image with the share of the posterior there; see `Reflected`.

    Raises:
        UnsuitableError: q is not an image of as many normal noises as it has dimensions, or its density is known at
            its own draws only.
    """
    if not (q.family.has_log_prob and is_pushed_noise(q)):
        raise UnsuitableError(f"{q.name} is not an image of normal noise that z determines: it cannot be reflected.")
    return Approximation(Reflected(q.family), q.params, q.target)


def log_prob_in_chunks(q: Approximation, z: Float[AnyArray, "n dim"]) -> Float[np.ndarray, " n"]:
    """Return log q(z) at z of shape (n, dim), for any n, in pieces of one size."""
    normal = q.family.normal(q.params)
    if normal is not None:
        return np.asarray(normal.log_prob(np.asarray(z)))
    if isinstance(q.family, Reflected):
        log_q, images, log_q_images = in_chunks(functools.partial(mirrored_batch, q), z)
        log_p = (log_density_in_chunks(q.target, place) for place in (z, images))
        return np.asarray(log_q + log_share(weight_ratio(tuple(log_p), (log_q, log_q_images))))
    by_numpy = q.family.in_numpy(q.params)
    if by_numpy is not None:
        return by_numpy.log_prob(np.asarray(z, dtype=float))
    return in_chunks(functools.partial(log_prob_batch, q), z)
