"""The parts of KL(q||posterior): family, optimisation, Monte Carlo; for a normal q location, scale, correlation, shape.

    KL(q||posterior) = [KL(q||posterior) - KL(best||posterior)]  optimisation: this q is not its family's best
                     +  KL(best||posterior)                      family: no member is closer

The best member is known in closed form if the posterior is normal. Otherwise it is searched for from q on, by L-BFGS on
fixed quasi-random noise, and judged on other noise. A better member than the one found may exist, so that the
optimisation's part is at least the figure given. If the total is integrated without anything random, so is the KL of
the best member. Otherwise both parts are averages over the same draws of noise, and the total is the certificate's,
over other draws: the two parts add up to it within their errors, and each may be negative by about as much.

A normal q with mean m and covariance S is compared with the normal N(mu, Sigma) that has the posterior's moments:

    location     1/2 (m - mu)' Sigma^-1 (m - mu)
    correlation  the least KL(N(0, D R D) || N(0, Sigma)) over all diagonal D, where R is the correlation of S
    scale        KL(N(0, S) || N(0, Sigma)) less the correlation's part
    shape        KL(q||posterior) less these three: what in the posterior is not normal

The first three are not negative; the last can be. If the moments are those of posterior draws, the first three have
errors; the bias of a finite number of draws is subtracted, so that they too can be negative by about their errors.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.optimize import minimize

from vi_kl.core.annotations import KeyLike, Progress, ProgressLike
from vi_kl.core.blas_threads import with_one_blas_thread
from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian
from vi_kl.core.languages import Sentence, check_language, speaking
from vi_kl.core.precision import in_float64
from vi_kl.core.progress import part_of, reporting
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.records import WORKING, Readable, plain, store
from vi_kl.core.suggestions import names_its_arguments
from vi_kl.core.written_numbers import significant
from vi_kl.diagnostics.arguments import Fitted, approximation_of, reference_and_key
from vi_kl.diagnostics.certificate import check, with_reference_attached
from vi_kl.diagnostics.effort import effort_for
from vi_kl.diagnostics.evidence import mean_estimate
from vi_kl.diagnostics.figures_in_chinese import in_figures
from vi_kl.diagnostics.kl_to_reference import reverse_kl_by_integration
from vi_kl.diagnostics.sentences import columns, say, say_again, with_method
from vi_kl.families.approximation import Approximation, is_pushed_noise, push_in_chunks
from vi_kl.families.gaussian import FullRank, MeanField, full_rank_params
from vi_kl.objectives.fixed_noise import FixedNoiseELBO
from vi_kl.objectives.noise import enough_draws, matched_noise
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.reference.posterior import ReferencePosterior
from vi_kl.targets.target import Target, log_density_in_chunks

FIXED_NOISE = 512  # the least number of draws of the fixed noise
BLOCKS = 20  # blocks of posterior draws, for the errors of the normal parts


@dataclasses.dataclass(frozen=True)
class NormalParts:
    """The parts of a normal q's KL, in nats; the module's docstring defines them."""

    location: Estimate
    scale: Estimate
    correlation: Estimate
    shape: Estimate


@dataclasses.dataclass(frozen=True, repr=False)
class Gap(Readable):
    """KL(q||posterior) and its parts, in nats.

    Attributes:
        name: the approximation's name.
        total: KL(q||posterior), or None if it is not known; its standard error is the Monte-Carlo part.
        family: the KL of the family's best member, or None.
        optimisation: the nats that a better optimiser would take away from the total, or None.
        normal: location, scale, correlation and shape, if q is normal and the posterior's moments are known.
        best: the best member found, or None.
        note: why a part is None; "" if none is.
        warnings: checks that the reference failed, and figures of the certificate that contradict each other, a
            sentence each; if there are any, no part is reliable.
        language: the language in which it is printed, "en" or "zh" (see `in_language`).
        label: "unknown" if there are warnings, "exact" if every part is a closed form, else "estimated".
    """

    name: str
    total: Estimate | None
    family: Estimate | None = None
    optimisation: Estimate | None = None
    normal: NormalParts | None = None
    best: Approximation | None = dataclasses.field(default=None, metadata=WORKING)
    note: str = ""
    warnings: tuple[str, ...] = ()
    language: str = dataclasses.field(default="en", metadata=WORKING)
    label: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        parts = [self.total, self.family, self.optimisation]
        exact = all(p is not None and p.method == "closed form" for p in parts)
        store(self, label="unknown" if self.warnings else "exact" if exact else "estimated")

    def in_language(self, language: str) -> "Gap":
        """Return a copy that is printed in a language: "en", or "zh" for Chinese.

        What checks of the reference say, and the names of most methods, are English in both.

        Raises:
            ValueError: another language.
        """
        check_language(language)
        return dataclasses.replace(self, language=language)

    def to_dict(self) -> dict:
        """Return the record as plain numbers and strings, for JSON; what is infinite or unknown is None."""
        return plain(self)

    @property
    def headline(self) -> str:
        """The approximation, how reliable the parts are, and the total."""
        total = "not known" if self.total is None else self.total.as_divergence()
        with speaking(self.language):
            return in_figures(f"{self.name}, {self.label}: KL(q||posterior) {total}")

    def __str__(self):
        with speaking(self.language):
            title = say("Gap of {name}: {label}", name=self.name, label=say(self.label))
            lines = [f"{columns(name, 16)}{value}" for name, value in self._rows()]
            return "\n".join([title, *lines, *map(say_again, filter(None, [self.note, *self.warnings]))])

    def _rows(self) -> list[tuple[str, str]]:
        """Return the parts as they are printed, in the language of the context."""
        parts = {
            say("KL(q||post.)"): self.total,
            "  " + say("family"): self.family,
            "  " + say("optimisation"): self.optimisation,
        }
        rows = [(name, with_method(part.as_divergence()) if part else say("unknown")) for name, part in parts.items()]
        if self.total is not None:
            error = significant(self.total.standard_error, 1)
            rows.append(("  " + say("Monte Carlo"), say("± {error} nats on the total", error=error)))
        if self.normal is not None:
            normal = self.normal
            rows.append((say("as a normal"), ""))
            rows += [
                ("  " + say("location"), with_method(normal.location.as_divergence())),
                ("  " + say("scale"), with_method(normal.scale.as_divergence())),
                ("  " + say("correlation"), with_method(normal.correlation.as_divergence())),
                ("  " + say("shape"), with_method(normal.shape)),
            ]
        return rows


@names_its_arguments
@with_one_blas_thread
@in_float64
def explain_gap(
    fit: Fitted | Approximation,
    reference: ReferencePosterior | Callable[[Target], ReferencePosterior] | None = None,
    *,
    key: KeyLike | None = None,
    num_draws: int | None = None,
    max_steps: int = 500,
    progress: ProgressLike = None,
) -> Gap:
    """Split KL(q||posterior) into what is due to the family, to the optimiser and to the noise of the estimate.

    Args:
        fit: a Fit or an Approximation.
        reference: a ReferencePosterior or a function from the target to one, as `check` takes it.
        key: a JAX random key, or an integer.
        num_draws: the number of draws over which each KL is averaged; by default as many as `check` takes.
        max_steps: the most iterations of the search for the best member.
        progress: a function that is called as `progress(fraction_done, sentence)`, True to show progress, or False; by
            default it is shown on a terminal and in a notebook after two seconds.
    """
    q = approximation_of(fit, "explain_gap")
    reference, key = reference_and_key(reference, key)
    keys = split(key, 4)
    if reference is not None:
        q = with_reference_attached(q, reference)
    with reporting(progress, f"gap of {q.name}") as report:
        return split_gap(fit, q, keys, num_draws, max_steps, report)


def split_gap(
    fit: Fitted | Approximation, q: Approximation, keys, asked: int | None, max_steps: int, report: Progress
) -> Gap:
    """Check q, search the best member of its family, and compare the two."""
    known, num_draws = q.target.reference, effort_for(q.target, asked).num_draws
    certificate = check(fit, known, key=keys[0], num_draws=asked, progress=part_of(report, 0.0, 0.4))
    report(0.4, "searching for the best member")
    gap = Gap(certificate.name, certificate.reverse_kl, warnings=(*certificate.complaints, *certificate.contradictions))
    if known is not None and gap.total is not None:
        gap = dataclasses.replace(gap, normal=normal_parts(q, known, gap.total, keys[1], num_draws))
    if known is not None and known.normal is not None and isinstance(q.family, MeanField | FullRank):
        return exact_gap(gap, q)
    if not is_pushed_noise(q):
        note = "The best member of {family} is not searched: its draws are not an image of normal noise."
        return dataclasses.replace(gap, note=Sentence.of(note, family=q.family.name))
    best = best_member(q, keys[2], max_steps)
    elbo, optimisation, best = judge(q, best, keys[3], num_draws)
    gap = dataclasses.replace(gap, optimisation=optimisation, best=best)
    if gap.total is None:
        return dataclasses.replace(gap, note=Sentence.of("The family's part needs the total, and so a reference."))
    if gap.total is certificate.integrated and gap.total.num_draws is None:
        # then the best member's KL can be integrated too, with hardly an error
        family = reverse_kl_by_integration(best, keys[3], num_draws)
        return dataclasses.replace(gap, family=family, optimisation=gap.total.minus(family, "difference of the two"))
    family = certificate.log_evidence.minus(elbo, "log evidence - ELBO of the best member")
    return dataclasses.replace(gap, family=dataclasses.replace(family, num_draws=num_draws))


def exact_gap(gap: Gap, q: Approximation) -> Gap:
    """Complete the gap of a normal family on a normal posterior, where the best member is known."""
    posterior = Gaussian.of_covariance(*q.target.reference.normal)
    best = Approximation(q.family, best_normal_params(q.family, posterior), q.target)
    family = Estimate(float(normal_of(best).kl(posterior)))
    total = Estimate(float(normal_of(q).kl(posterior)))
    return dataclasses.replace(
        gap, total=total, family=family, optimisation=Estimate(total.value - family.value), best=best
    )


def best_normal_params(family, posterior: Gaussian) -> dict:
    """Return the parameters that minimise reverse KL to a normal.

    They are the normal's own, or for a mean field its mean and conditional sds (Bishop 2006, section 10.1.2).
    """
    if isinstance(family, FullRank):
        return full_rank_params(posterior.loc, posterior.scale.tril)
    return {"loc": jnp.asarray(posterior.loc), "log_scale": jnp.asarray(np.log(posterior.conditional_sd))}


def normal_of(q: Approximation) -> Gaussian | None:
    """Return the normal that q is by its distribution, or None if it is another."""
    known = q.family.normal(q.params)
    if known is not None:
        return known
    match q.distribution:
        case dist.Independent(base_dist=dist.Normal(loc=loc, scale=factor)):
            return Gaussian.of(loc, factor)
        case dist.MultivariateNormal(loc=loc, scale_tril=factor):
            return Gaussian.of(loc, factor)
        case _:
            return None


# The best member, on fixed noise ---------------------------------------------------------------------------------


def best_member(q: Approximation, key, max_steps: int) -> Approximation:
    """Return the member that minimises -ELBO on fixed noise, searched for from q on, in q's own frame if it has one."""
    frame = q.family.frame(q.params)
    params, units = (
        (q.params, None) if frame is None else (q.family.standard(key, q.target), q.family.units(frame, q.target))
    )
    noise = matched_noise(numpy_generator(key), enough_draws(FIXED_NOISE, q.target.dim), q.target.dim)
    objective = FixedNoiseELBO(q.family, params, units, q.target, noise)
    options = {"maxiter": max_steps, "maxfun": 2 * max_steps}
    result = minimize(objective, objective.start, jac=True, method="L-BFGS-B", options=options)
    return Approximation(q.family, objective.params(result.x), q.target)


def judge(q: Approximation, best: Approximation, key, num_draws: int) -> tuple[Estimate, Estimate, Approximation]:
    """Compare ELBOs on the same new noise, and return the better member's ELBO, ELBO(best) - ELBO(q), and that member.

    If best is no better than q, the difference is 0 and the member is q.
    """
    u = numpy_generator(key).standard_normal((num_draws, q.target.dim))
    elbos = []
    for member in (best, q):
        z, log_q = push_in_chunks(member, u)
        elbos.append(log_density_in_chunks(q.target, z) - log_q)
    of_best, of_q = elbos
    what = f"Monte Carlo, {num_draws:,} draws of noise"
    if not of_best.mean() > of_q.mean():  # by its own noise the search may also have been led far away
        none_better = f"no better member was found, by paired ELBOs on {num_draws:,} draws of noise"
        return mean_estimate(of_q, what), Estimate(0.0, 0.0, none_better, num_draws=num_draws), q
    difference = mean_estimate(of_best - of_q, f"paired ELBOs on {num_draws:,} draws of noise")
    return mean_estimate(of_best, what), difference, best


# A normal q against the posterior's moments ----------------------------------------------------------------------


def normal_parts(q: Approximation, reference, total: Estimate, key, num_draws: int) -> NormalParts | None:
    """Return the parts of a normal q's KL, or None if q is not normal."""
    ours = normal_of(q)
    if ours is None:
        return None
    if reference.normal is not None:
        exact = split_kl(ours, Gaussian.of_covariance(*reference.normal))
        values, errors, method = with_sum(exact), np.zeros(4), "closed form"
    else:
        values, errors, method = parts_from_draws(ours, reference.draws(key, num_draws))
    location, scale, correlation = (Estimate(values[i], errors[i], method) for i in range(3))
    error = float(np.hypot(total.standard_error, errors[3]))
    shape = Estimate(total.value - values[3], error, "the total less the other three")
    return NormalParts(location, scale, correlation, shape)


def with_sum(parts) -> np.ndarray:
    """Return the parts and their sum as one array."""
    return np.array([*parts, sum(parts)])


def parts_from_draws(ours: Gaussian, posterior: PosteriorDraws) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the parts and their sum from the moments of posterior draws, the errors of the four, and the method.

    The jackknife over blocks of draws removes the first order of the bias (Quenouille 1956), and gives the error of the
    sum, whose terms are dependent, from the sum itself (Tukey 1958).
    """
    blocks = np.array_split(posterior.z, BLOCKS)

    def parts(draws):
        z = np.concatenate(draws)
        covariance = np.atleast_2d(np.cov(z, rowvar=False))
        return with_sum(split_kl(ours, Gaussian.of_covariance(z.mean(axis=0), covariance)))

    without = np.stack([parts(blocks[:i] + blocks[i + 1 :]) for i in range(BLOCKS)])
    values = BLOCKS * parts(blocks) - (BLOCKS - 1) * without.mean(axis=0)
    errors = np.sqrt((BLOCKS - 1) * without.var(axis=0))
    return values, errors, f"moments of {posterior.words}"


def split_kl(q: Gaussian, p: Gaussian) -> tuple[float, float, float]:
    """Split KL(q||p) of two normals into location, scale and correlation, in nats."""
    centred = float(Gaussian(p.loc, q.scale).kl(p))
    correlated = q.scale.tril / q.sd[:, None]  # a factor of q's correlation matrix
    best = best_scales(correlated @ correlated.T * p.precision)
    least = min(float(Gaussian.of(p.loc, best[:, None] * correlated).kl(p)), centred)
    return 0.5 * float(p.squared_distance(q.loc)), centred - least, least


def best_scales(form: np.ndarray) -> np.ndarray:
    """Return the d > 0 that minimises d' form d / 2 - sum of log d, by Newton's method on this convex function.

    Steps are damped by the Newton decrement, as for any self-concordant function (Boyd & Vandenberghe 2004, section
    9.6).
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
