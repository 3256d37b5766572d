"""AutoFit: what `fit(target)` does by default. It fits cheap approximations first, and richer ones until one is good.

    1. Laplace's normal at the best mode, if climbs found one with mass around it. Where it is not near the
       posterior, that may be a minor mode, and further climbs look for one with more mass;
    2. the best normal: full-rank, by SampleAverageApproximation, or above a hundred dimensions by NaturalGradient;
       low-rank plus diagonal above a thousand;
    3. independent normals, if the normal before was not found: they are cheap and easier to fit. In many dimensions
       they come before that normal, which starts from them;
    4. a flow, by regression on the log density and its gradient around the best so far, unless that is nearer than a
       flow in as many dimensions is likely to come. In one dimension, and above a hundred, a skewed normal takes its
       place, by SampleAverageApproximation, started from the best so far.

Above a hundred dimensions, and where a smaller model has groups, a random walk or a field, all this comes after a
normal with a sparse precision whose hyperparameters have a density of their own, by NestedNewton. What the best of all
normals misses in such models is most often that the spread of much of the model depends on a few hyperparameters.
Where the log density is not sparse, or that search is lost, the others are fitted as above; in many dimensions the
full-rank normal then goes on from the sparse one, if there is one that did not converge.

After each candidate, draws of q and of wider densities are weighed against the log density, as certificates do it.
Laplace's normal is kept only if next to nothing is left to gain, because the second candidate costs little. A later
candidate is kept if KL(q||posterior) plus twice its error is small, or if the importance weights have a finite variance
(k-hat below 0.5), so that they can mend what is left; and so is Laplace's normal where an evaluation is so dear, as
with very many rows of data, that the second candidate does not cost little. The candidate with the highest ELBO is
returned, and the status lists all that were tried.

A run of NUTS needs no approximation, and its price is measured beside the best candidate so far (price_of_nuts.py).
What would take the fit beyond half of that price is left out, and the status says so. What takes it beyond 20,000
gradients is announced before it is begun.

Parameters of the model that have no prior (`numpyro.param`) are learned first, by SVI with a normal q. All that is said
above is then done for the posterior at their learned values.

Requires of the target: a differentiable log density. It does not see a mode that no climb reached: `vi_kl.check`
searches further, and says so.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

from vi_kl.algorithms.algorithm import Algorithm, Fit, FitError, Solution, Status
from vi_kl.algorithms.candidate_status import Candidate, Standards, explain, is_found, is_settled, may_be_minor
from vi_kl.algorithms.candidates import (
    FLOW,
    LARGEST_DENSE,
    LARGEST_FLOW,
    LARGEST_FULL_RANK,
    LARGEST_SKEWED,
    MANY,
    candidates_for,
    is_dear,
    is_grouped,
    most_gradients,
    natural,
    on_more_draws,
    skewed,
)
from vi_kl.algorithms.density_regression import DensityRegression
from vi_kl.algorithms.initialization import Initialization, better_mode, frame_of, initialize
from vi_kl.algorithms.nested_newton import NestedNewton
from vi_kl.algorithms.price_of_nuts import LOWEST_PRICE, price_of_nuts
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.algorithms.svi.svi import SVI
from vi_kl.core.annotations import Progress
from vi_kl.core.errors import UnsuitableError, ViKLError
from vi_kl.core.progress import part_of
from vi_kl.core.random_keys import fold_in, numpy_generator, split
from vi_kl.diagnostics import judgement
from vi_kl.diagnostics.judgement import FunnelSearch
from vi_kl.families.approximation import draw
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.sparse_normal import SparseNormal
from vi_kl.targets.arguments import is_to_learn
from vi_kl.targets.target import Target

FURTHER_STARTS = 6  # climbs where the first ones may all have ended at a minor mode
NATS_OF_FLOW = 0.0025  # nats a dimension, nearer than which a flow seldom comes
FROM_THE_BEST = ("low_rank", "skewed", "flow")  # candidates that start from the best so far, not where climbs ended
FLOWS_GAIN = 2  # times so much, beyond which a flow comes before more draws for the best normal
BEYOND_NORMALS = ("skewed", "flow")  # candidates that are not tried if one before is close, however it was found
MOST_OF_NESTED = 15_000  # gradients of a nested normal, after which its last round may take some more
MOST_OF_GROUPED = 20_000  # the same in up to a hundred dimensions, where others may be better
AFFORDABLE = 0.5  # the share of the price of NUTS that a fit may cost
LEARNING = 0.5  # the share of the progress that learning a model's parameters takes


@dataclasses.dataclass(frozen=True)
class AutoFit(Standards, Algorithm):
    """The default algorithm: Laplace, the best normal, a flow: as far as is needed and worth its price.

    Attributes:
        good_enough: the nats of KL(q||posterior) below which no further candidate is fitted.
        nothing_to_gain: the nats below which not even the best normal is fitted after Laplace's.
    """

    name = "automatic"
    learns: ClassVar[bool] = True

    def find(self, key, target, *, start, progress, counter):
        learned = None
        if is_to_learn(target):
            learned = learn(target, fold_in(key, 1), start, part_of(progress, 0.0, LEARNING), counter)
            target, start, progress = learned.target, learned, part_of(progress, LEARNING, 1.0)
        ladder = Ladder(self, target, start, split(key, 3), counter, progress)
        ladder.climb()
        if not ladder.tried:
            raise FitError("Nothing could be fitted. " + " ".join(ladder.left_out))
        best = ladder.best
        status = explain(self, ladder.tried, best, ladder.left_out)
        status = status if learned is None else with_learning(status, learned)
        return Solution(best.fit.approximation, status, best.fit.history)


class Ladder:
    """The candidates of one fit, tried one after the other.

    Attributes:
        tried: the candidates that were fitted.
        left_out: a sentence for each of the others that failed or would have been too dear.
    """

    def __init__(self, config: AutoFit, target: Target, start, keys, counter, progress: Progress):
        self.config, self.target, self.start, self.counter, self.progress = config, target, start, counter, progress
        self.start_key, self.fit_key, self.check_key = keys
        self.tried: list[Candidate] = []
        self.left_out: list[str] = []
        self.funnel = FunnelSearch()
        self.price: int | None = None

    @functools.cached_property
    def begin(self) -> Initialization:
        """The frame in which candidates start."""
        self.progress(0.0, "looking for a place to start")
        return initialize(self.target, self.start_key, self.counter, self.start)

    @property
    def best(self) -> Candidate:
        """The candidate with the highest ELBO."""
        return max(self.tried, key=lambda candidate: candidate.elbo)

    def climb(self) -> None:
        """Fit and judge candidates until one is enough."""
        for name, algorithm, span in self.rungs():
            if name == "mean_field" and any(map(is_found, self.tried)):
                continue
            if name in BEYOND_NORMALS and any(map(self.config.is_close, self.tried)):
                return
            if name == "flow" and self.is_near_for_a_flow():
                continue
            if self.is_too_dear(name, name in BEYOND_NORMALS, most_gradients(algorithm), span[0]):
                continue
            part = part_of(self.progress, *span)
            found = f"; {self.tried[-1]}" if self.tried else ""  # a first result, long before the last
            part(0.0, f"fitting {name}; {self.counter.gradient_evaluations:,} gradients so far{found}")
            try:
                self.tried.append(self.fit_and_judge(name, algorithm, part))
            except ViKLError as error:
                self.left_out.append(f"{name}: {error}")
                continue
            if self.config.is_enough(self.tried[-1]):
                return
            if name == "laplace" and may_be_minor(self.tried[-1]):
                self.look_again(part_of(self.progress, span[1], 1.0))

    def look_again(self, progress: Progress) -> None:
        """Climb from more places, and go on from the best mode, unless climbs are dear or the start was given."""
        if self.start is not None or is_dear(self.target) or self.target.dim > LARGEST_DENSE:
            return
        progress(0.0, f"looking for other modes; {self.counter.gradient_evaluations:,} gradients so far")
        better = better_mode(self.target, self.begin, fold_in(self.start_key, 2), self.counter, FURTHER_STARTS)
        if better is not None:
            self.left_out.append("what comes after starts from a mode with more mass, which further climbs found")
            self.begin = better

    def is_near_for_a_flow(self) -> bool:
        """Return whether a candidate is nearer than a flow in so many dimensions is likely to come, after noting it."""
        likely = NATS_OF_FLOW * self.target.dim
        if self.best.at_most >= likely:
            return False
        self.left_out.append(
            f"flow left out, which in {self.target.dim} dimensions seldom comes within {likely:.2g} nats"
        )
        return True

    def rungs(self) -> Iterator[tuple[str, Algorithm, tuple[float, float]]]:
        """Yield the candidates, the cheapest first, each with its name and its span of the progress.

        In many dimensions a sparse normal comes first. Where there is one, it is the best of all normals, and is found
        without what the others start from.
        """
        begun, dim = 0.0, self.target.dim
        if dim > LARGEST_DENSE:
            begun = 0.5
            yield "nested_normal", NestedNewton(max_gradients=MOST_OF_NESTED), (0.0, 0.45)
            if self.tried:
                if dim <= LARGEST_FULL_RANK and self.tried[0].name == "sparse_normal" and not is_settled(self.tried[0]):
                    yield "full_rank", natural(self.target), (0.45, 0.7)
                if dim <= LARGEST_SKEWED:
                    yield "skewed", skewed(self.target), (0.7, 0.95)
                return
        elif is_grouped(self.target):
            begun = 0.5
            yield "nested_normal", NestedNewton(max_gradients=MOST_OF_GROUPED, begin=lambda: self.begin), (0.0, 0.45)
            if self.tried:
                yield "flow", FLOW, (0.5, 0.95)
                return
        rungs = candidates_for(self.target, self.begin)
        each = (1 - begun) / len(rungs)
        for i, (name, algorithm) in enumerate(rungs):
            yield name, algorithm, (begun + i * each, begun + (i + 0.9) * each)

    def fit_and_judge(self, name: str, algorithm: Algorithm, progress: Progress) -> Candidate:
        """Fit one candidate and judge it. A good normal is found on more draws, if no flow is better."""
        if name == "nested_normal":
            place: Any = self.start
        else:
            goes_on = name in FROM_THE_BEST or any(before.name == "sparse_normal" for before in self.tried)
            place = self.best.fit if self.tried and goes_on else self.begin
        if isinstance(algorithm, DensityRegression) and self.tried:
            algorithm = dataclasses.replace(algorithm, elbo_to_beat=self.best.elbo)
        found = self.fit(algorithm, place, part_of(progress, 0.0, 0.5))
        if isinstance(found.approximation.family, SparseNormal):
            if self.target.dim <= LARGEST_DENSE and not found.status.converged:
                raise UnsuitableError(str(found.status))
            name = "sparse_normal"
        candidate = self.judge(name, found)
        if name != "full_rank" or not isinstance(algorithm, SampleAverageApproximation):
            return candidate
        more = on_more_draws(algorithm, self.target)
        if more is None or candidate.fit.status.converged or not self.config.is_good(candidate):
            return candidate
        dearer = candidate.fit.cost.gradient_evaluations * more.max_draws // algorithm.max_draws
        if self.flow_is_better(candidate, dearer):
            return candidate
        if self.is_too_dear("full_rank on more draws", True, dearer, 0.5, progress, candidate):
            return candidate
        return self.judge(name, self.fit(more, candidate.fit, part_of(progress, 0.5, 1.0)))

    def flow_is_better(self, candidate: Candidate, gradients: int) -> bool:
        """Return whether a flow takes less than a normal on more draws, and is likely to be nearer than any normal."""
        if self.config.is_close(candidate) or not 1 < self.target.dim <= LARGEST_FLOW:
            return False
        likely = FLOWS_GAIN * NATS_OF_FLOW * self.target.dim
        return most_gradients(FLOW) < gradients and candidate.judgement.at_least > likely

    def fit(self, algorithm: Algorithm, place, progress: Progress) -> Fit:
        """Fit from a place, and count what it cost."""
        found = algorithm.fit(self.fit_key, self.target, start=place, progress=progress)
        self.counter.add(found.cost)
        return found

    def judge(self, name: str, fit: Fit) -> Candidate:
        """Weigh draws of a fit; every candidate gets the same noise, so that their ELBOs can be compared."""
        n = judgement.draws_to_weigh(self.target)
        # Laplace's normal is the last candidate only where the posterior is normal, and has no funnel
        search = FunnelSearch(is_settled=True) if name == "laplace" else self.funnel
        found = judgement.judge(fit.approximation, self.check_key, n, search)
        self.counter.density_evaluations += found.evaluations
        self.counter.gradient_evaluations += found.gradients
        return Candidate(name, fit, found)

    def is_too_dear(self, name, asks: bool, more: int, done: float, progress=None, beside=None) -> bool:
        """Return whether a candidate would take the fit beyond its share of the price of NUTS, after noting that.

        Args:
            name: what would be fitted.
            asks: whether it can be left out at all.
            more: the number of gradients that it takes, about.
            done: the share of the work that is done.
            progress: the function that announces many gradients; None for the fit's own progress.
            beside: the candidate beside which NUTS is priced; None for the best so far.
        """
        in_all = self.counter.gradient_evaluations + more
        if not asks and in_all > MANY:
            self.announce(f"{name} may take the fit to {in_all:,} gradients", done, progress)
        if not asks or in_all <= AFFORDABLE * LOWEST_PRICE or not (self.tried or beside):
            return False
        price = self.price_beside(beside or self.best)
        if in_all > AFFORDABLE * price:
            self.left_out.append(
                f"{name} left out, with which the fit would have taken about {in_all:,} gradients: more than half of "
                f"the {price:,} that a run of NUTS, which is exact, takes here; vi_kl.sample(fit, key=key) makes one "
                f"that starts from this fit"
            )
            return True
        if in_all > MANY:
            less = f"{name} may take the fit to {in_all:,} gradients, less than half of the {price:,} of NUTS"
            self.announce(less, done, progress)
        return False

    def announce(self, words: str, done: float, progress: Progress | None) -> None:
        """Say before many gradients are spent what they are spent on, there and then and in the status."""
        (progress or self.progress)(done, words)
        self.left_out.append(words)

    def price_beside(self, candidate: Candidate) -> int:
        """Return the price of NUTS, which is measured once, beside the first candidate that asks for it."""
        if self.price is None:
            q, keys = candidate.fit.approximation, split(self.check_key, 3)
            z = candidate.judgement.posterior_draws
            if z is None:
                z = draw(q, keys[0], judgement.KEPT)[0]
            normal = frame_of(q, self.target, keys[1]).normal
            self.price = price_of_nuts(self.target, normal, z, numpy_generator(keys[2]), self.counter)
        return self.price


def learn(target: Target, key, start, progress: Progress, counter) -> Fit:
    """Learn the model's parameters with a normal q, and count what it cost."""
    family = FullRank() if target.dim <= LARGEST_DENSE else MeanField()
    found = SVI(family).fit(key, target, start=start, progress=progress)
    counter.add(found.cost)
    return found


def with_learning(status: Status, learned: Fit) -> Status:
    """Return a status with how the parameters were learned."""
    words = (
        f"{status} Before, SVI learned the parameters with q of the family {learned.name}, which bounds the evidence "
        f"less tightly than a richer one would: {learned.status}"
    )
    return Status(status.converged and learned.status.converged, words)
