"""Where the gap comes from: family, optimisation, Monte Carlo; and for normal q location, scale, correlation, shape.

    KL(q||posterior) = [KL(q||posterior) - KL(best||posterior)]  optimisation: this q is not its family's best
                     +  KL(best||posterior)                      family: no member is closer

The best member is known in closed form where the posterior is normal. Elsewhere it is looked for from q on, on fixed
quasi-random noise by a second-order optimiser, and judged on other noise; a member better than the one found may
exist, so the optimisation's part is at least what is given.

For a normal q with mean m and covariance S, held to the normal N(mu, Sigma) with the posterior's own moments,

    location     1/2 (m - mu)' Sigma^-1 (m - mu)
    correlation  the least KL(N(0, D R D) || N(0, Sigma)) over all diagonal D, where R is the correlation of S
    scale        KL(N(0, S) || N(0, Sigma)) less the correlation's part
    shape        KL(q||posterior) less these three: what in the posterior is not normal

The first three are not negative; the last can be.

Reference for the fixed noise: Burroni, Domke & Sheldon (2024), "Sample average approximation for black-box
variational inference".
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize
from scipy.special import ndtri
from scipy.stats import qmc

from vi_kl.compilation import compiled
from vi_kl.diagnostics.certificate import Certificate, check, held_to
from vi_kl.diagnostics.evidence import mean_estimate
from vi_kl.diagnostics.kl_to_truth import reverse_kl_by_integration
from vi_kl.estimate import Estimate
from vi_kl.families.approximation import Approximation, is_pushed_noise, push_batch
from vi_kl.families.gaussian import FullRank, MeanField, full_rank_params
from vi_kl.keys import numpy_generator
from vi_kl.precision import in_float64
from vi_kl.target.target import Target, in_chunks, log_density, log_density_in_chunks
from vi_kl.truth.draws import PosteriorDraws

FIXED_NOISE = 512  # draws of it, at least; more than four per dimension, or the best of them would fit the noise
BLOCKS = 20  # of posterior draws, for the errors of the normal parts


@dataclasses.dataclass(frozen=True)
class NormalParts:
    """Parts of a normal q's KL, in nats."""

    location: Estimate
    scale: Estimate
    correlation: Estimate
    shape: Estimate


@dataclasses.dataclass(frozen=True)
class Gap:
    """KL(q||posterior) and its parts, in nats.

    Attributes:
        name: of the approximation.
        total: KL(q||posterior), or None where it is not known; its standard error is the Monte-Carlo part.
        family: KL of the best member, or None.
        optimisation: how much of the total a better optimiser would take away, or None.
        normal: location, scale, correlation and shape, for a normal q whose posterior's moments are known.
        best: the best member found, or None.
        note: why a part is None; "" where none is.
    """

    name: str
    total: Estimate | None
    family: Estimate | None = None
    optimisation: Estimate | None = None
    normal: NormalParts | None = None
    best: Approximation | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """ "exact" where every part is a closed form, else "estimated"."""
        parts = [self.total, self.family, self.optimisation]
        return "exact" if all(p is not None and p.method == "closed form" for p in parts) else "estimated"

    def to_dict(self) -> dict:
        names = ("total", "family", "optimisation")
        parts = {name: None if (x := getattr(self, name)) is None else x.to_dict() for name in names}
        normal = None
        if self.normal is not None:
            normal = {f.name: getattr(self.normal, f.name).to_dict() for f in dataclasses.fields(self.normal)}
        return {"name": self.name, "label": self.label, **parts, "normal": normal, "note": self.note}

    def __str__(self):
        rows = [("KL(q||post.)", self.total), ("  family", self.family), ("  optimisation", self.optimisation)]
        if self.total is not None:
            rows.append(("  Monte Carlo", f"± {self.total.standard_error:.1g} nats on the total"))
        if self.normal is not None:
            rows.append(("as a normal", ""))
            rows += [(f"  {f.name}", getattr(self.normal, f.name)) for f in dataclasses.fields(self.normal)]
        lines = [f"{title:<16}{'unknown' if value is None else value}" for title, value in rows]
        return "\n".join([f"Gap of {self.name}: {self.label}", *lines, *filter(None, [self.note])])


@in_float64
def explain_gap(fit, truth=None, *, key, num_draws: int = 16_384, max_steps: int = 500) -> Gap:
    """Split KL(q||posterior) into what the family, the optimiser and the noise of its estimate are to blame for.

    Args:
        fit: a Fit or an Approximation.
        truth: as `check` takes it.
        key: a JAX random key.
        num_draws: draws that each KL is judged on.
        max_steps: of the search for the best member.
    """
    keys = jax.random.split(key, 4)
    q = getattr(fit, "approximation", fit)
    if truth is not None:
        q = held_to(q, truth)
    known = q.target.truth
    certificate = check(fit, known, key=keys[0], num_draws=num_draws)
    total = certificate.reverse_kl
    normal = None if known is None or total is None else normal_parts(q, known, total, keys[1], num_draws)
    if known is not None and known.normal is not None and isinstance(q.family, MeanField | FullRank):
        return exact_gap(certificate, q, normal)
    if not is_pushed_noise(q):
        note = f"The best member of {q.family.name} is not searched: its draws are not an image of normal noise."
        return Gap(certificate.name, total, normal=normal, note=note)
    best = best_member(q, keys[2], max_steps)
    optimisation, best = optimisation_part(q, best, keys[3], num_draws)
    if total is None:
        note = "The family's part needs the total, and so a truth."
        return Gap(certificate.name, None, None, optimisation, normal, best, note)
    if total is certificate.integrated:  # then the best member's KL can be integrated too, with hardly an error
        family = reverse_kl_by_integration(best, keys[3], num_draws)
        return Gap(certificate.name, total, family, total.minus(family, "difference of the two"), normal, best)
    family = total.minus(optimisation, "the total less the optimisation's part")
    return Gap(certificate.name, total, family, optimisation, normal, best)


def exact_gap(certificate: Certificate, q: Approximation, normal: NormalParts | None) -> Gap:
    """For a normal posterior and a normal family, whose best member is known."""
    mean, covariance = q.target.truth.normal
    best = Approximation(q.family, best_normal_params(q.family, mean, covariance), q.target)
    family = Estimate(kl_of_normals(*moments_of(best), mean, covariance))
    total = Estimate(kl_of_normals(*moments_of(q), mean, covariance))
    return Gap(certificate.name, total, family, Estimate(total.value - family.value), normal, best)


def best_normal_params(family, mean: np.ndarray, covariance: np.ndarray) -> dict:
    """Of reverse KL to a normal: itself, or for a mean field the conditional sds (Bishop 2006, section 10.1.2)."""
    if isinstance(family, FullRank):
        return full_rank_params(mean, np.linalg.cholesky(covariance))
    conditional_sd = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    return {"loc": jnp.asarray(mean), "log_scale": jnp.asarray(np.log(conditional_sd))}


def moments_of(q: Approximation) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and covariance of a normal q; None for another."""
    match q.distribution:
        case dist.Independent(base_dist=dist.Normal(loc=loc, scale=scale)):
            return np.asarray(loc), np.diag(np.asarray(scale) ** 2)
        case dist.MultivariateNormal(loc=loc, scale_tril=tril):
            return np.asarray(loc), np.asarray(tril @ tril.T)
        case _:
            return None


# The best member, on fixed noise ---------------------------------------------------------------------------------


@compiled(static=("family", "unravel"))
def loss_and_gradient(flat, u, target: Target, family, unravel):
    """-ELBO on the noise u, and its gradient in the flattened parameters."""

    def loss(flat):
        push = family.push(unravel(flat), target)
        z, log_q = jax.vmap(push)(u)
        return jnp.mean(log_q - jax.vmap(lambda one: log_density(target, one))(z))

    return jax.value_and_grad(loss)(flat)


def best_member(q: Approximation, key, max_steps: int) -> Approximation:
    """The member that minimises -ELBO on fixed scrambled-Sobol noise, from q on."""
    size = 2 ** int(np.ceil(np.log2(max(FIXED_NOISE, 4 * q.target.dim))))
    sobol = qmc.Sobol(q.target.dim, rng=numpy_generator(key))
    u = jnp.asarray(ndtri(np.clip(sobol.random(size), 1e-12, 1 - 1e-12)))
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, q.params))

    def loss(x):
        value, gradient = loss_and_gradient(jnp.asarray(x), u, q.target, q.family, unravel)
        return (float(value), np.asarray(gradient)) if np.isfinite(value) else (np.inf, np.zeros_like(x))

    options = {"maxiter": max_steps, "maxfun": 2 * max_steps}
    result = minimize(loss, np.asarray(flat), jac=True, method="L-BFGS-B", options=options)
    return Approximation(q.family, unravel(jnp.asarray(result.x)), q.target)


def optimisation_part(q: Approximation, best: Approximation, key, num_draws: int) -> tuple[Estimate, Approximation]:
    """ELBO(best) - ELBO(q) on the same new noise; where q is not beaten, it is the best member itself."""
    u = numpy_generator(key).standard_normal((num_draws, q.target.dim))
    elbos = []
    for member in (best, q):
        z, log_q = in_chunks(lambda piece, member=member: push_batch(member, piece), u)
        elbos.append(log_density_in_chunks(q.target, z) - log_q)
    difference = mean_estimate(elbos[0] - elbos[1], f"paired ELBOs on {num_draws:,} draws of noise")
    if difference.value <= 0:
        return dataclasses.replace(difference, value=0.0), q
    return difference, best


# A normal q against the posterior's moments ----------------------------------------------------------------------


def normal_parts(q: Approximation, truth, total: Estimate, key, num_draws: int) -> NormalParts | None:
    """None where q is not normal."""
    ours = moments_of(q)
    if ours is None:
        return None
    if truth.normal is not None:
        values, errors, method = split_kl(*ours, *truth.normal), np.zeros(3), "closed form"
    else:
        values, errors, method = parts_from_draws(ours, truth.draws(key, num_draws))
    location, scale, correlation = (Estimate(v, e, method) for v, e in zip(values, errors, strict=True))
    rest = total.value - float(np.sum(values))
    error = float(np.hypot(total.standard_error, np.linalg.norm(errors)))
    return NormalParts(location, scale, correlation, Estimate(rest, error, "the total less the other three"))


def parts_from_draws(ours, posterior: PosteriorDraws) -> tuple[np.ndarray, np.ndarray, str]:
    """The parts with the moments of posterior draws, their errors by the jackknife over blocks of draws."""
    blocks = np.array_split(posterior.z, BLOCKS)

    def parts(draws):
        z = np.concatenate(draws)
        return np.array(split_kl(*ours, z.mean(axis=0), np.atleast_2d(np.cov(z, rowvar=False))))

    without = np.stack([parts(blocks[:i] + blocks[i + 1 :]) for i in range(BLOCKS)])
    errors = np.sqrt((BLOCKS - 1) * without.var(axis=0))
    return parts(blocks), errors, f"moments of {posterior.words}"


def split_kl(m, s, mean, covariance) -> tuple[float, float, float]:
    """KL(N(m, s) || N(mean, covariance)) as location, scale and correlation, in nats."""
    precision = np.linalg.inv(covariance)
    location = 0.5 * (m - mean) @ precision @ (m - mean)
    centred = kl_of_normals(np.zeros_like(m), s, np.zeros_like(m), covariance)
    sd = np.sqrt(np.diag(s))
    correlation = s / np.outer(sd, sd)
    best = best_scales(correlation * precision)
    at_best = correlation * np.outer(best, best)
    least = min(kl_of_normals(np.zeros_like(m), at_best, np.zeros_like(m), covariance), centred)
    return float(location), float(centred - least), float(least)


def best_scales(form: np.ndarray) -> np.ndarray:
    """The d > 0 that minimises d' form d / 2 - sum of log d, by Newton's method on this convex function.

    Damped by its own decrement, as for any self-concordant function (Boyd & Vandenberghe 2004, section 9.6).
    """
    d = 1 / np.sqrt(np.diag(form))
    for _ in range(200):
        gradient = form @ d - 1 / d
        step = np.linalg.solve(form + np.diag(1 / d**2), gradient)
        decrement = np.sqrt(max(gradient @ step, 0.0))
        d = d - step / (1 + decrement) if decrement > 0.25 else d - step
        if decrement < 1e-10:
            break
    return d


def kl_of_normals(m, s, mean, covariance) -> float:
    """KL(N(m, s) || N(mean, covariance)) in nats, by the eigenvalues of one covariance in the other's units.

    t - 1 - log t has no cancellation where t is near one, unlike a trace less a dimension less a log determinant.
    """
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    excess = np.linalg.eigvalsh(whiten @ (s - covariance) @ whiten.T)
    return float(0.5 * np.sum((whiten @ (m - mean)) ** 2) + 0.5 * np.sum(excess - np.log1p(excess)))
