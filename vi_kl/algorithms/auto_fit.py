"""AutoFit: what `fit(target)` does by default. It fits cheap approximations first, and richer ones until one is good.

    1. Laplace's normal at the best mode, if climbs found one;
    2. the best normal, by SampleAverageApproximation: full-rank, or low-rank plus diagonal in many dimensions;
    3. independent normals, if the normal before was not found: they are cheap and easier to fit. In many dimensions
       they come before that normal, which starts from them;
    4. a skewed normal, by SampleAverageApproximation, started from the best so far;
    5. a flow, by a short run of SVI, started from the best so far. Above a hundred dimensions there is none.

After each candidate, draws of q and of wider densities are weighed against the log density, as certificates do it.
Laplace's normal is kept only if next to nothing is left to gain, because the second candidate costs little. A later
candidate is kept if KL(q||posterior) plus twice its error is small, or if the importance weights have a finite variance
(k-hat below 0.5), so that they can mend what is left; and so is Laplace's normal where an evaluation is so dear, as
with very many rows of data, that the second candidate does not cost little. The candidate with the highest ELBO is
returned, and the status lists all that were tried.

A candidate beyond the normals is left out if the fit would then cost more than a run of NUTS, which needs no
approximation: about 60,000 gradients.

Requires of the target: a differentiable log density. It does not see a mode that no climb reached: `vi_kl.check`
searches further, and says so.
"""

import dataclasses

import jax

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, Fit, FitError, Solution, Status
from vi_kl.algorithms.initialization import Initialization, initialize
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.errors import ViKLError
from vi_kl.core.progress import part_of
from vi_kl.diagnostics import judgement
from vi_kl.diagnostics.judgement import Judgement, describe
from vi_kl.families.coupling import Coupling
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.low_rank import LowRank
from vi_kl.families.skewed import Skewed
from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.noise import PER_DIMENSION, enough_draws
from vi_kl.targets.price import affordable, price_of
from vi_kl.targets.priors import hierarchical_sites
from vi_kl.targets.target import CHUNK, Target, is_small

LARGEST_FULL_RANK = 200  # dimensions; with more, a full covariance costs more draws than it is worth
LARGEST_FLOW = 100  # dimensions; with more, a flow takes minutes and is seldom better, so that it has to be asked for
FLOW = SVI(Coupling(), ELBO(num_draws=16, gradient="total"), step_size=0.02, smallest_step_size=1e-5, tolerance=2e-3)
SHORT_FLOW = dataclasses.replace(FLOW, decay="cosine", max_steps=2000, chunk=50, tolerance=0.02)
FROM_THE_BEST = ("low_rank", "skewed", "flow")  # candidates that start from the best so far, not where climbs ended
NOT_CLOSE = 0.1  # nats; the status says "not close" if KL less twice its error is larger
MENDABLE = 0.5  # k-hat below which weights have a finite variance
FEWER_DRAWS = 2048  # draws for judging models whose log density takes long
FEWEST_DRAWS = 256  # the same, or eight a dimension, where it takes so long that its price counts
FIRST_DRAWS, MOST_DRAWS = 256, 1024  # draws of a normal's sample average: at first, and if it is a good one
NO_RIVAL = 2.0  # nats of KL, below which the normal that was found is near the best one
FEWEST_OF_RIVAL = 128  # draws of independent normals where they are dear: those at first, doubled
DRAWS_OF_SKEWED = 256  # or four a dimension
STEPS_OF_SKEWED = 20  # about how many values and gradients on all draws its search takes
STEPS_OF_NORMAL = 10  # the same of a normal's, on four draws a dimension and on twice as many
DEAR = 3e10  # operations of a search for the best normal: half a minute
STEPS_OF_NUTS = 2 * (1000 + 1000)  # two chains, with their warm-up
LEAPFROGS = 15  # gradients in one of these steps, between the 5 and 21 measured where the best normal is not enough


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One of the approximations that were tried, and how it was judged.

    Attributes:
        name: the candidate's name.
        fit: the approximation, with its own status and cost.
        judgement: the result of weighing its draws, as certificates do it.
    """

    name: str
    fit: Fit
    judgement: Judgement

    @property
    def elbo(self) -> float:
        """The ELBO in nats."""
        return self.judgement.elbo

    @property
    def k_hat(self) -> float:
        """Pareto's k-hat of q's own weights."""
        return self.judgement.k_hat

    @property
    def at_most(self) -> float:
        """KL plus twice its standard error; infinite if it is not known."""
        return self.judgement.at_most

    def __str__(self):
        return f"{self.name} ({self.judgement})"


@dataclasses.dataclass(frozen=True)
class AutoFit(Algorithm):
    """The default algorithm: Laplace, the best normal, a skewed one, a flow: as far as is needed and worth its price.

    Attributes:
        good_enough: the nats of KL(q||posterior) below which no further candidate is fitted.
        nothing_to_gain: the nats below which not even the best normal is fitted after Laplace's.
    """

    good_enough: float = 0.05
    nothing_to_gain: float = 1e-4

    name = "automatic"

    def find(self, key, target, *, start, progress, counter):
        start_key, fit_key, check_key = jax.random.split(key, 3)
        tried: list[Candidate] = []
        failures: list[str] = []
        begin = initialize(target, start_key, counter, start)
        candidates = candidates_for(target, begin)
        for i, (name, algorithm) in enumerate(candidates):
            if name == "mean_field" and any(map(is_found, tried)):
                continue
            if (why := too_dear(name, algorithm, counter)) is not None:
                failures.append(why)
                continue
            progress(i / len(candidates), f"fitting {name}; {counter.gradient_evaluations:,} gradients so far")
            part = part_of(progress, i / len(candidates), (i + 0.9) / len(candidates))
            place = best_of(tried, begin) if name in FROM_THE_BEST else begin
            try:
                found = self.fit_and_judge(name, algorithm, (fit_key, check_key), target, place, part, counter)
            except ViKLError as error:
                failures.append(f"{name}: {error}")
                continue
            tried.append(found)
            if self.is_enough(found):
                break
        if not tried:
            raise FitError("Nothing could be fitted. " + " ".join(failures))
        best = max(tried, key=lambda candidate: candidate.elbo)
        return Solution(best.fit.approximation, explain(self, tried, best, failures), best.fit.history)

    def fit_and_judge(self, name, algorithm, keys, target, place, progress, counter: CostCounter) -> Candidate:
        """Fit one candidate and judge it. The best normal is found on more draws if it is good, and only then."""
        fit_key, check_key = keys
        found = algorithm.fit(fit_key, target, start=place, progress=progress)
        counter.add(found.cost)
        candidate = judge(name, found, check_key, counter)
        more = on_more_draws(algorithm, target) if name == "full_rank" else None
        if more is None or found.status.converged or not self.is_good(candidate):
            return candidate
        found = more.fit(fit_key, target, start=found, progress=progress)
        counter.add(found.cost)
        return judge(name, found, check_key, counter)

    def is_enough(self, candidate: Candidate) -> bool:
        """Return whether a candidate is so good, and found so precisely, that no further one is fitted."""
        return is_settled(candidate) and self.is_good(candidate)

    def is_good(self, candidate: Candidate) -> bool:
        """Return whether a candidate is so near the posterior that no further one is wanted."""
        if candidate.name == "laplace" and not is_dear(candidate.fit.target):
            return candidate.at_most < self.nothing_to_gain
        return candidate.at_most < self.good_enough or (
            candidate.judgement.kl is not None and candidate.k_hat < MENDABLE
        )


def candidates_for(target: Target, begin: Initialization) -> list[tuple[str, Algorithm]]:
    """Return the candidates as (name, algorithm), the cheapest first."""
    full = target.dim <= LARGEST_FULL_RANK
    most = most_draws(target)
    laplace: list[tuple[str, Algorithm]] = [] if begin.mode is None else [("laplace", Laplace())]
    of_rival = affordable(target, MOST_DRAWS, FEWEST_OF_RIVAL)
    rival = ("mean_field", SampleAverageApproximation(MeanField(), max_draws=of_rival))
    if not full:
        return [*laplace, rival, ("low_rank", SampleAverageApproximation(LowRank(), max_draws=most))]
    first = enough_draws(affordable(target, FIRST_DRAWS, 1), 2 * target.dim)
    normal = ("full_rank", SampleAverageApproximation(FullRank(), max_draws=min(first, most)))
    if target.dim == 1:
        return [*laplace, normal, ("skewed", skewed(target))]
    flow: list[tuple[str, Algorithm]] = [("flow", SHORT_FLOW)] if target.dim <= LARGEST_FLOW else []
    return [*laplace, normal, rival, ("skewed", skewed(target)), *flow]


def most_draws(target: Target) -> int:
    """Return the most draws on which a normal is searched for; where they are dear, twice what a covariance needs."""
    return affordable(target, max(MOST_DRAWS, 16 * target.dim), enough_draws(1, 2 * target.dim))


def on_more_draws(algorithm: SampleAverageApproximation, target: Target) -> SampleAverageApproximation | None:
    """Return the search that goes on from the draws at which one ended; None if doubling them would be too many."""
    most = most_draws(target)
    if 2 * algorithm.max_draws > most:
        return None
    return dataclasses.replace(algorithm, num_draws=algorithm.max_draws, max_draws=most)


def is_dear(target: Target) -> bool:
    """Return whether the best normal takes so long that there has to be as much to gain as by any other candidate."""
    price, gradients = price_of(target), 3 * PER_DIMENSION * target.dim * STEPS_OF_NORMAL
    return price.share < 1 and gradients * price.operations > DEAR


def is_settled(candidate: Candidate) -> bool:
    """Return whether a candidate is as near as its family can be; a flow that was given few steps never is.

    How near a flow is says its judgement alone.
    """
    return candidate.fit.status.converged or candidate.name == "flow"


def is_found(candidate: Candidate) -> bool:
    """Return whether a candidate is the best normal, or near enough to it that independent normals are no rival."""
    if candidate.name != "full_rank":
        return False
    return candidate.fit.status.converged or candidate.at_most < NO_RIVAL


def skewed(target: Target) -> SampleAverageApproximation:
    """Return the search for a skewed normal, with few draws: what they leave open is little beside what it gains."""
    draws = enough_draws(DRAWS_OF_SKEWED, target.dim)
    return SampleAverageApproximation(Skewed(), num_draws=draws, max_draws=2 * draws, tolerance=0.05)


def too_dear(name: str, algorithm: Algorithm, counter: CostCounter) -> str | None:
    """Return a sentence if a candidate beyond the normals would make the fit dearer than NUTS; else None."""
    if isinstance(algorithm, SVI):
        more = algorithm.max_steps * algorithm.objective.density_evaluations
    elif name == "skewed":
        more = STEPS_OF_SKEWED * algorithm.num_draws
    else:
        return None
    in_all, price = counter.gradient_evaluations + more, STEPS_OF_NUTS * LEAPFROGS
    if in_all <= price:
        return None
    return (
        f"{name} left out, with which the fit would have taken about {in_all:,} gradients: a run of NUTS takes about "
        f"{price:,} here, and is exact; vi_kl.sample(fit, key=key) makes one that starts from this fit"
    )


def best_of(tried: list[Candidate], begin: Initialization):
    """Return the best fit so far, from which to start the next; the initialization if there is none."""
    return max(tried, key=lambda candidate: candidate.elbo).fit if tried else begin


def judge(name: str, fit: Fit, key, counter: CostCounter) -> Candidate:
    """Weigh draws of a fit; every candidate gets the same noise, so that their ELBOs can be compared."""
    target = fit.target
    usual, fewest = CHUNK if is_small(target) else FEWER_DRAWS, enough_draws(FEWEST_DRAWS, 2 * target.dim)
    found = judgement.judge(fit.approximation, key, affordable(target, usual, fewest))
    counter.density_evaluations += found.evaluations
    return Candidate(name, fit, found)


def explain(config: AutoFit, tried: list[Candidate], best: Candidate, failures: list[str]) -> Status:
    """Say which candidate was kept, why, and which were tried."""
    path = "; ".join([*map(str, tried), *failures])
    converged = best.fit.status.converged if best.name != "flow" else config.is_good(best)
    return Status(converged, f"Kept {best.name}: {reason(config, best)}. Tried {path}.")


def reason(config: AutoFit, best: Candidate) -> str:
    """Say why a candidate was kept, in words that a certificate, which looks further, does not contradict."""
    kl = best.judgement.kl
    if not is_settled(best):
        return "the best found, but: " + str(best.fit.status).rstrip(".")
    if kl is None:
        return "the best found; how far it is from the posterior its draws do not tell, and vi_kl.check looks further"
    if best.at_most < config.good_enough:
        return "close enough to the posterior as far as its draws, and wider ones, reach"
    if config.is_enough(best):
        return f"{describe(kl.value)}, with weights light enough to mend what is left"
    if best.judgement.at_least < NOT_CLOSE:
        return f"the best found, and {describe(kl.value)}"
    sites = hierarchical_sites(best.fit.target)
    mend = f"the non-centred form of {', '.join(sites[:3])} may bring it nearer" if sites else "another scale may help"
    exact = "vi_kl.sample(fit, key=key) draws from the posterior itself"
    return f"the best found, and not close ({describe(kl.value)}): {mend}; {exact}; vi_kl.check says more"
