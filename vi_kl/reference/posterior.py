"""ReferencePosterior: what is known about a posterior, and by which method.

A reference is a log evidence and draws from the posterior; the posterior density of z then follows as
exp(log_density(z) - log_evidence). Every figure carries its method and its error.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from numpyro.distributions import Distribution

from vi_kl.core.annotations import AnyArray, KeyLike, Values
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.estimate import Estimate
from vi_kl.core.random_keys import as_key
from vi_kl.core.records import Readable
from vi_kl.draws.answers import Answers
from vi_kl.draws.target_draws import TargetDraws, one_chain, some_of
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets.target import Target


@dataclasses.dataclass(frozen=True)
class Moments:
    """A posterior mean and standard deviation of every entry of one site, with the error of the mean.

    Attributes:
        mean: an array of the site's shape, in the model's own (constrained) space.
        sd: the same of the standard deviations.
        error: the largest standard error of a mean, in posterior sds.
    """

    mean: Float[Values, "*site"]
    sd: Float[Values, "*site"]
    error: float = 0.0


@dataclasses.dataclass(frozen=True, repr=False)
class ReferencePosterior(Readable, Answers):
    """A record of what is known about the posterior of a target.

    It can be asked for `summary`, `predict`, `log_likelihood` and `to_arviz` (see `vi_kl.draws.Answers`).

    Attributes:
        log_evidence: the log of the integral of exp(log_density), in nats.
        moments: {site: Moments} of each site, in the model's own (constrained) space.
        sample: `sample(key, n)` returns n draws of z from the posterior, of shape (n, dim): independent ones, except
            if `chains` holds all that there are.
        source: "closed form", "quadrature", "reference run", "run started from a fit" or "sequential Monte
            Carlo".
        log_density: `log_density(z)` for z of shape (n, dim) returns the posterior's normalised log density (n,) by
            another program than the model's; None if only the model's, minus the log evidence, is available.
        distributions: {site: NumPyro distribution} if the posterior is known in closed form and its sites are
            independent; None otherwise.
        normal: (mean, covariance) of z if the posterior is exactly normal in z; None otherwise.
        chains: the draws of a run of MCMC, of shape (chains, length, dim); None if `sample` makes new ones.
        second_opinion: the log evidence by an independent method; None if nothing but arithmetic could be
            wrong with the first, or none was computed (`vi_kl.sample`).
        complaints: a sentence for each check that a run failed. A reference with complaints exists only if
            `reference_run` or `sample` was told to keep it, and every certificate that uses it says so.
        target: the target whose posterior it is; None if it was made without one, and then it can be asked nothing.
    """

    log_evidence: Estimate
    moments: Mapping[str, Moments]
    sample: Callable[[PRNGKeyArray, int], Float[AnyArray, "n dim"]]
    source: str = "closed form"
    log_density: Callable[[Float[AnyArray, "n dim"]], Float[AnyArray, " n"]] | None = None
    distributions: Mapping[str, Distribution] | None = None
    normal: tuple[Float[AnyArray, " dim"], Float[AnyArray, "dim dim"]] | None = None
    chains: Float[np.ndarray, "chains length dim"] | None = None
    second_opinion: Estimate | None = None
    complaints: tuple[str, ...] = ()
    target: Target | None = dataclasses.field(default=None, compare=False)

    @property
    def headline(self) -> str:
        """Its source, the log evidence, and the sites."""
        return f"by {self.source}, log evidence {self.log_evidence}, sites {', '.join(self.moments)}"

    def __str__(self):
        lines = [f"Reference posterior by {self.source}", f"  log evidence  {self.log_evidence}"]
        for name, site in self.moments.items():
            lines.append(f"  {name}: mean {in_few_digits(site.mean)}, sd {in_few_digits(site.sd)}")
        return "\n".join([*lines, *(f"  {complaint}" for complaint in self.complaints)])

    @property
    def is_exact(self) -> bool:
        """Return whether nothing in the reference rests on random draws."""
        return self.chains is None

    def draws(self, key: KeyLike, n: int) -> PosteriorDraws:
        """Return draws of z to take averages over: n new ones, or all of the reference run's."""
        if self.chains is not None:
            return PosteriorDraws(self.chains, independent=False)
        return PosteriorDraws(np.asarray(self.sample(as_key(key), n))[None], independent=True)

    @property
    def holds_draws(self) -> bool:
        return self.chains is not None

    def drawn(self, key: PRNGKeyArray, n: int | None) -> TargetDraws:
        target, words = self.target_of_draws(), f"posterior by {self.source}"
        if self.chains is not None:
            chains, independent = some_of(self.chains, n), False
        else:
            assert n is not None, "a reference without chains holds no draws"
            chains, independent = one_chain(self.sample(key, n)), True
        return TargetDraws(target, chains, key, self.source, words, independent, notes=self.complaints)

    def target_of_draws(self) -> Target:
        if self.target is None:
            raise UnsuitableError(
                "This reference posterior does not know its target, so nothing can be computed from its draws: give "
                "it, dataclasses.replace(reference, target=target)."
            )
        return self.target


def in_few_digits(values) -> str:
    """Return numbers as text, with four digits and the middle of long arrays left out."""
    return np.array2string(np.asarray(values), precision=4, threshold=8, edgeitems=3, separator=", ")
