"""The judgement of one q, which a fit's status and its certificate make in the same way.

Both weigh draws of q together with draws of wider densities (defence.py), and share the words below for the result. A
fit weighs fewer draws than a certificate and does not search for other modes; its words are chosen so that the
certificate, which looks further, adds to them and does not contradict them.
"""

import dataclasses

import numpy as np

from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import gaussian_of_draws
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.core.written_numbers import divergence_with_error, with_unit
from vi_kl.diagnostics.defence import MOST_DIMENSIONS, Weighing, defend, normal_of
from vi_kl.diagnostics.effort import USUAL
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.funnel import NOTABLE, SEEN, Funnel, find_funnel
from vi_kl.diagnostics.importance import kl_by_weights, tell_of_kl
from vi_kl.diagnostics.parts import finite
from vi_kl.diagnostics.psis import pareto_k
from vi_kl.diagnostics.scouts import Scouts, scout
from vi_kl.families.approximation import Approximation
from vi_kl.objectives.noise import enough_draws
from vi_kl.targets.price import CHUNK, affordable
from vi_kl.targets.target import Target, is_small

GRADIENTS = 1  # the most gradients, for each draw around q, that a certificate's search for a funnel evaluates
FEWER_GRADIENTS, FEWER_SEEN = 4096, 24  # the most gradients, and draws of q, of the search that a fit makes
DEEP = 0.8  # the spread of logs of curvature that is a funnel to a fit: more than a residual sd of few data makes it
FEWER_DRAWS = 2048  # draws for judging models whose log density takes long
FEWEST_DRAWS = 256  # the same, or eight a dimension, where it takes so long that its price counts
KEPT = 64  # draws of the posterior, by weights, that a judgement keeps
SCALE = (
    (1e-4, "indistinguishable from it in practice"),
    (1e-2, "very close"),
    (0.1, "close"),
    (0.5, "a rough stand-in"),
)


def describe(kl: float) -> str:
    """Return a word for a divergence in nats."""
    return next((words for limit, words in SCALE if kl < limit), "far")


def draws_to_weigh(target: Target) -> int:
    """Return how many draws of one q are weighed where a certificate would weigh more: fewer where they are dear."""
    usual = CHUNK if is_small(target) else FEWER_DRAWS
    return affordable(target, usual, enough_draws(FEWEST_DRAWS, 2 * target.dim))


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The result of weighing draws for one q.

    Attributes:
        elbo: the ELBO in nats; -inf if the posterior has no density at a draw of q.
        kl: KL(q||posterior) in nats; None if it is not known.
        k_hat: Pareto's k-hat of q's own weights.
        evaluations: the number of evaluations of the log density.
        gradients: the number of its gradients.
        posterior_draws: draws of the posterior, by the weights of all draws, (64, dim); None if KL is not known.
    """

    elbo: float
    kl: Estimate | None
    k_hat: float
    evaluations: int
    gradients: int = 0
    posterior_draws: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def at_most(self) -> float:
        """KL plus twice its standard error; infinite if KL is not known."""
        return np.inf if self.kl is None else self.kl.value + 2 * self.kl.standard_error

    @property
    def at_least(self) -> float:
        """KL minus twice its standard error; 0 if KL is not known."""
        return 0.0 if self.kl is None else self.kl.value - 2 * self.kl.standard_error

    def __str__(self):
        k_hat = "flat" if self.k_hat == -np.inf else f"{self.k_hat:.2f}"
        if self.kl is None:
            return f"KL unknown, k-hat {k_hat}"
        kl = divergence_with_error(self.kl.value, self.kl.standard_error, digits=1)
        return f"KL about {with_unit(kl, 'nats')}, k-hat {k_hat}"


def scouts_around(q: Approximation, pilot: Draws, generator, n: int, *, rays: float) -> Scouts | None:
    """Draw n points around q at several scales, and evaluate the log density there, and along a share of the rays.

    Return None if q's draws do not span the space, or if there are too many dimensions.
    """
    if q.target.dim > MOST_DIMENSIONS:
        return None
    found = gaussian_of_draws(pilot.z)
    if found is None:
        return None
    return scout(q.target, normal_of(q) or found, generator, n, rays=rays)


@dataclasses.dataclass
class FunnelSearch:
    """The search for a funnel around the approximations of one target, which need not be repeated for each of them.

    Attributes:
        budget: the most gradients that a search evaluates.
        most_seen: the most draws of q at which it computes the curvature.
        notable: the least spread of the log of a coordinate's curvature that counts as a change.
        funnel: the funnel that was found; None if there is none.
        is_settled: whether the search is over.
        gradients: the number of gradients so far.
    """

    budget: int = FEWER_GRADIENTS
    most_seen: int = FEWER_SEEN
    notable: float = DEEP
    funnel: Funnel | None = None
    is_settled: bool = False
    gradients: int = 0

    def around(self, q: Approximation, z: np.ndarray, generator) -> Funnel | None:
        """Return the funnel around draws of q, (n, dim)."""
        if not self.is_settled:
            self.is_settled = True
            self.funnel, spent = find_funnel(q.target, z, generator, self.budget, self.most_seen, self.notable)
            self.gradients += spent
        return self.funnel


def weigh_around(
    q: Approximation,
    pilot: Draws,
    own: Draws,
    scouts: Scouts,
    modes,
    generator,
    n: int,
    share: float,
) -> Weighing:
    """Weigh draws of q with those of wider densities, over modes that climbs found, and along a funnel's neck.

    `share` is the share of the usual gradients that the search for a funnel may take.
    """
    budget = GRADIENTS * len(scouts.z)
    if share < 1:
        budget = min(budget, int(share * GRADIENTS * USUAL / 4))
    search = FunnelSearch(budget, SEEN, NOTABLE)
    funnel = search.around(q, pilot.z, generator)
    found = defend(q, pilot, own, scouts, with_funnel(funnel, modes), generator, n)
    return dataclasses.replace(found, evaluations=found.evaluations + search.gradients)


def with_funnel(funnel: Funnel | None, parts: tuple) -> tuple:
    """Return densities for `defend`, a funnel's among them if there is one."""
    return parts if funnel is None else (funnel, *parts)


def judge(q: Approximation, key, n: int, search: FunnelSearch | None = None) -> Judgement:
    """Weigh n draws of q, and half as many of wider densities.

    With one key every q is judged by the same noise, so that their ELBOs can be compared. With one `search` a funnel is
    looked for once.
    """
    search = FunnelSearch() if search is None else search
    keys = split(key, 3)
    own = Draws(q, keys[0], n)
    own.log_p = finite(own.log_p)
    if not np.isfinite(own.log_ratio).all():
        return Judgement(-np.inf, None, np.inf, n)
    elbo, k_hat = float(own.log_ratio.mean()), pareto_k(own.log_ratio)
    pilot, generator = Draws(q, keys[1], n // 4), numpy_generator(keys[2])
    scouts = scouts_around(q, pilot, generator, n // 4, rays=0.0)
    if scouts is not None and np.isfinite(pilot.log_ratio).all():
        before = search.gradients
        funnel = search.around(q, pilot.z, generator)
        found = defend(q, pilot, own, scouts, with_funnel(funnel, ()), generator, n // 2)
        evaluations = n + n // 4 + scouts.evaluations + found.evaluations
        kl, draws = (found.kl, resampled(found, generator)) if found.is_known else (None, None)
        return Judgement(elbo, kl, k_hat, evaluations, search.gradients - before, draws)
    known = tell_of_kl(own.log_ratio, k_hat)
    kl = kl_by_weights(own.log_ratio, f"importance weights of {n:,} draws of q") if known else None
    return Judgement(elbo, kl, k_hat, n + n // 4)


def resampled(found: Weighing, generator) -> np.ndarray:
    """Return draws of the posterior, (64, dim), by the weights."""
    weights = found.weighted.normalised
    return found.weighted.z[generator.choice(len(weights), KEPT, p=weights / weights.sum())]
