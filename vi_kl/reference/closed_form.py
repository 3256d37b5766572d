"""ReferencePosterior in closed form: conjugate models, whose posterior and evidence are known by algebra.

`closed_form_reference` takes the posterior as independent distributions of the sites, or, if the sites depend on
each other, as a NumPyro program that draws them.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.distributions import Distribution
from scipy.linalg import block_diag

from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate
from vi_kl.core.kept_programs import tracing
from vi_kl.core.precision import as_float64, in_float64
from vi_kl.core.random_keys import numpy_generator
from vi_kl.reference.posterior import Moments, ReferencePosterior
from vi_kl.targets.captured import Captured, captured
from vi_kl.targets.target import Target, in_chunks, unconstrain_batch


@in_float64
def closed_form_reference(
    target: Target,
    posterior: Mapping[str, Distribution] | Callable,
    log_evidence: float,
    moments: Mapping[str, Moments] | None = None,
    data: tuple = (),
) -> ReferencePosterior:
    """Make the reference of a conjugate model from its posterior and its log evidence.

    Args:
        target: the model with its data.
        posterior: {site: distribution} if the posterior's sites are independent of each other; or a NumPyro
            model, called as `posterior(*data)`, that draws every site in turn from its exact conditional
            distribution, observing nothing.
        log_evidence: the log evidence in nats.
        moments: {site: Moments}; required with a program, whose marginal moments cannot be read off.
        data: the arrays that the program is called with.

    Returns:
        A ReferencePosterior whose `normal` is filled in if every site's distribution is normal.

    Raises:
        ValueError: the posterior does not name exactly the target's sites, in their shapes; or a program comes
            without moments, or observes something.
    """
    if callable(posterior):
        return program_reference(target, posterior, log_evidence, moments, data)
    require_sites(target, {name: q.batch_shape + q.event_shape for name, q in posterior.items()})
    # parameters made under the caller's float32 would make the density a float32 one
    posterior = {name: jax.tree.map(as_float64, q) for name, q in posterior.items()}
    moments = {name: Moments(np.asarray(q.mean), np.asarray(jnp.sqrt(q.variance))) for name, q in posterior.items()}

    sample = functools.partial(draw_known_sites, target, posterior)
    log_density = functools.partial(log_density_of_sites, target, posterior)
    evidence = Estimate(log_evidence, 0.0, "closed form")
    normal = normal_in_z([posterior[name] for name in target.site_names])
    return ReferencePosterior(
        evidence, moments, sample, log_density=log_density, distributions=posterior, normal=normal, target=target
    )


@in_float64
def draw_known_sites(target: Target, posterior, key, n: int):
    return draw_sites(target, posterior, key, n)


@in_float64
def log_density_of_sites(target: Target, posterior, z):
    return in_chunks(lambda piece: closed_form_log_density(target, posterior, piece), z)


def normal_in_z(distributions) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (mean, covariance) of z if these distributions, in z's order, are all normal; None otherwise.

    A normal distribution covers the whole line, so that a site's unconstrained value is the value itself.
    """
    means, covariances = [], []
    for q in distributions:
        base = q.base_dist if isinstance(q, dist.Independent) else q
        if isinstance(base, dist.MultivariateNormal) and not base.batch_shape:
            covariances.append(np.asarray(base.covariance_matrix))
        elif isinstance(base, dist.Normal):
            covariances.append(np.diag(np.ravel(base.variance)))
        else:
            return None
        means.append(np.ravel(base.mean))
    return np.concatenate(means), block_diag(*covariances)


def program_reference(target: Target, program: Callable, log_evidence: float, moments, data) -> ReferencePosterior:
    if moments is None:
        raise ValueError("Give `moments` too: the marginal moments of dependent sites cannot be read off a program.")
    require_sites(target, {name: np.shape(moment.mean) for name, moment in moments.items()}, "`moments`")
    data = tuple(map(as_float64, data))
    require_sites(target, program_shapes(program, data))
    posterior, closed_over = in_float64(captured)(PosteriorProgram(program, len(data)), data, target)
    data = (*data, *closed_over)

    sample = functools.partial(draw_by_program, target, posterior, data)
    log_density = functools.partial(log_density_by_program, target, posterior, data)
    evidence = Estimate(log_evidence, 0.0, "closed form")
    return ReferencePosterior(evidence, moments, sample, log_density=log_density, target=target)


@in_float64
def draw_by_program(target: Target, posterior: "PosteriorProgram", data, key, n: int):
    seeds = jax.random.key_data(jax.random.split(key, n))
    return in_chunks(lambda piece: draw_program(target, posterior, data, piece), seeds)


@in_float64
def log_density_by_program(target: Target, posterior: "PosteriorProgram", data, z):
    return in_chunks(lambda piece: program_log_density(target, posterior, data, piece), z)


def require_sites(target: Target, shapes: Mapping[str, tuple], what: str = "The posterior") -> None:
    """Refuse other sites than the target's, or other shapes: a scalar would pass for a vector by broadcasting."""
    if set(shapes) != set(target.site_names):
        raise ValueError(f"{what} names the sites {sorted(shapes)}, the target {list(target.site_names)}.")
    for site in target.sites:
        if tuple(shapes[site.name]) != site.shape:
            raise ValueError(
                f"{what} has site '{site.name}' in the shape {shapes[site.name]}, the target {site.shape}."
            )


def program_shapes(program: Callable, data) -> dict[str, tuple]:
    """Return {site: shape} of the draws of a program, without computing a number."""
    observed = []

    def run(*data):
        trace = handlers.trace(handlers.seed(program, 0)).get_trace(*data)
        samples = {name: site for name, site in trace.items() if site["type"] == "sample"}
        observed.extend(name for name, site in samples.items() if site["is_observed"])
        return {name: site["value"] for name, site in samples.items()}

    with tracing:
        shapes = {name: value.shape for name, value in jax.eval_shape(run, *data).items()}
    if observed:
        raise ValueError(f"The posterior program observes {observed}: it should only draw, from exact conditionals.")
    return shapes


@dataclasses.dataclass(frozen=True, eq=False)
class PosteriorProgram(Captured):
    """A NumPyro program that draws from the posterior, with what it closes over among its data."""

    function: Callable
    num_arguments: int

    def model_draw(self, data, seed) -> dict:
        """Return one draw of every site; the seed is the data of a key."""
        trace = handlers.trace(handlers.seed(self.function, jax.random.wrap_key_data(seed))).get_trace(*data)
        return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}

    def model_log_prob(self, data, sites):
        trace = handlers.trace(handlers.substitute(self.function, sites)).get_trace(*data)
        return sum(jnp.sum(trace[name]["fn"].log_prob(trace[name]["value"])) for name in sites)

    def programs_to_capture(self, target: Target):
        sites = {site.name: jax.ShapeDtypeStruct(site.shape, float) for site in target.sites}
        return {"draw": (jax.random.key_data(jax.random.key(0)),), "log_prob": (sites,)}


@compiled(static=("posterior",), unoptimized=True)
def draw_program(target: Target, posterior: PosteriorProgram, data, seeds):
    """Return draws of z, one for each seed (the data of a key), by running the program forward."""

    def one(seed):
        sites = posterior.run("draw", data, seed)
        return target.ravel(target.density.unconstrain(target.data, {name: sites[name] for name in target.site_names}))

    return jax.vmap(one)(seeds)


@compiled(static=("posterior",), unoptimized=True)
def program_log_density(target: Target, posterior: PosteriorProgram, data, z):
    """Return the log density of z under the program, transformed by the target's change of variables."""

    def one(z):
        sites, log_det = target.density.constrain(target.data, target.unravel(z))
        return log_det + posterior.run("log_prob", data, {name: sites[name] for name in target.site_names})

    return jax.vmap(one)(z)


@compiled(unoptimized=True)
def closed_form_log_density(target: Target, distributions, z):
    """Return the log density of z if the sites are independent with these distributions."""

    def one(z):
        sites, total = target.density.constrain(target.data, target.unravel(z))
        return total + sum(jnp.sum(distributions[name].log_prob(sites[name])) for name in distributions)

    return jax.vmap(one)(z)


def draw_sites(target: Target, distributions: Mapping[str, Distribution], key, n: int) -> np.ndarray:
    """Return n draws of z if the sites are independent with these distributions."""
    generator = numpy_generator(key)
    draws = {name: draw(distributions[name], generator, n) for name in target.site_names}

    def to_z(*sites):
        return unconstrain_batch(target, dict(zip(draws, sites, strict=True)))

    return in_chunks(to_z, *draws.values())


def draw(distribution: Distribution, generator: np.random.Generator, n: int) -> np.ndarray:
    """Return n draws, by NumPy where it knows the family: the reference shares no sampler with the fits."""
    match distribution:
        case dist.Beta(concentration1=a, concentration0=b):
            return generator.beta(a, b, (n, *np.shape(a)))
        case dist.Dirichlet(concentration=a) if np.ndim(a) == 1:
            return generator.dirichlet(a, n)
        case dist.Gamma(concentration=a, rate=b):
            return generator.gamma(a, 1 / np.asarray(b), (n, *distribution.batch_shape))
        case dist.Independent(base_dist=base):
            return draw(base, generator, n)
        case dist.MultivariateNormal(loc=loc, scale_tril=tril) if not distribution.batch_shape:
            return np.asarray(loc) + generator.standard_normal((n, *distribution.event_shape)) @ np.asarray(tril).T
        case dist.Normal(loc=loc, scale=scale):
            return generator.normal(loc, scale, (n, *distribution.batch_shape))
        case _:
            seed = int(generator.integers(2**31))
            return np.asarray(distribution.sample(jax.random.key(seed), (n,)))
