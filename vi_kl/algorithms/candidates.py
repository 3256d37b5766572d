"""The approximations that the default tries: the algorithm of each, its limits, and their order.

What each costs and when it is worth it auto_fit.py decides, as it goes along.
"""

import dataclasses

from vi_kl.algorithms.algorithm import Algorithm
from vi_kl.algorithms.density_regression import DensityRegression
from vi_kl.algorithms.initialization import Initialization
from vi_kl.algorithms.laplace import Laplace
from vi_kl.algorithms.natural_gradient import NaturalGradient
from vi_kl.algorithms.sample_average_approximation import SampleAverageApproximation
from vi_kl.families.gaussian import FullRank, MeanField
from vi_kl.families.low_rank import LowRank
from vi_kl.families.skewed import Skewed
from vi_kl.objectives.noise import PER_DIMENSION, enough_draws
from vi_kl.targets.price import affordable, price_of
from vi_kl.targets.priors import hierarchical_sites
from vi_kl.targets.target import Target

LARGEST_DENSE = 100  # dimensions; with more, a sparse normal is tried first, whatever the model looks like
LARGEST_FULL_RANK = 1000  # dimensions; with more, a full covariance costs more draws than it is worth
LARGEST_SKEWED = 200  # dimensions; with more, a skewed normal costs more than it gains
LARGEST_FLOW = 100  # dimensions; with more, a flow takes minutes and is seldom better, so that it has to be asked for
FLOW = DensityRegression()
FIRST_DRAWS, MOST_DRAWS = 256, 1024  # draws of a normal's sample average: at first, and if it is a good one
FEWEST_OF_RIVAL = 128  # draws of independent normals where they are dear: those at first, doubled
DRAWS_OF_SKEWED = 256  # or four a dimension
STEPS_OF_SKEWED = 24  # values and gradients on all draws that its search takes, about and at most
STEPS_OF_NORMAL = 10  # the same of a normal's, on four draws a dimension and on twice as many
NATURAL_STEPS = 40  # the most of a natural-gradient search; near a mode it takes three, and none that gains little
ENOUGH, ENOUGH_PER_DIMENSION = 0.03, 1e-4  # nats within which such a search finds the best normal
FEWEST_GROUPS, MOST_SHARED = 5, 3  # numbers of a site that has one for each group, and of one that the groups share
DEAR = 3e10  # operations of a search for the best normal: half a minute
MANY = 20_000  # gradients that no fit goes beyond without saying so
MOST_OF_RIVAL = 10_000  # gradients of independent normals, which are fitted where the better ones were not found


def most_gradients(algorithm: Algorithm) -> int:
    """Return about how many gradients a candidate beyond the normals takes."""
    if isinstance(algorithm, DensityRegression):
        return algorithm.most_gradients
    if isinstance(algorithm, SampleAverageApproximation) and algorithm.num_draws is not None:
        return STEPS_OF_SKEWED * algorithm.num_draws
    if isinstance(algorithm, NaturalGradient):
        return algorithm.num_draws * (algorithm.max_steps + 2)
    return 0


def candidates_for(target: Target, begin: Initialization) -> list[tuple[str, Algorithm]]:
    """Return the candidates as (name, algorithm), the cheapest first."""
    full, dense = target.dim <= LARGEST_FULL_RANK, target.dim <= LARGEST_DENSE
    most = most_draws(target)
    laplace: list[tuple[str, Algorithm]] = [] if begin.mode is None else [("laplace", Laplace())]
    of_rival = affordable(target, FIRST_DRAWS if dense else MOST_DRAWS, FEWEST_OF_RIVAL)
    rival = ("mean_field", SampleAverageApproximation(MeanField(), max_draws=of_rival, max_gradients=MOST_OF_RIVAL))
    if not full:
        low_rank = SampleAverageApproximation(LowRank(), max_draws=most, max_gradients=MANY)
        return [*laplace, rival, ("low_rank", low_rank)]
    if not dense:
        beyond = [("skewed", skewed(target))] if target.dim <= LARGEST_SKEWED else []
        return [*laplace, ("full_rank", natural(target)), rival, *beyond]
    first = enough_draws(affordable(target, FIRST_DRAWS, 1), 2 * target.dim)
    normal = ("full_rank", SampleAverageApproximation(FullRank(), max_draws=min(first, most), max_gradients=MANY))
    if 1 < target.dim <= LARGEST_FLOW:
        return [*laplace, normal, rival, ("flow", FLOW)]
    return [*laplace, normal, *([rival] if target.dim > 1 else []), ("skewed", skewed(target))]


def most_draws(target: Target) -> int:
    """Return the most draws on which a normal is searched for; where they are dear, twice what a covariance needs."""
    return affordable(target, max(MOST_DRAWS, 16 * target.dim), enough_draws(1, 2 * target.dim))


def on_more_draws(algorithm: SampleAverageApproximation, target: Target) -> SampleAverageApproximation | None:
    """Return the search that goes on from the draws at which one ended; None if doubling them would be too many."""
    most = most_draws(target)
    if 2 * algorithm.max_draws > most:
        return None
    return dataclasses.replace(algorithm, num_draws=algorithm.max_draws, max_draws=most)


def natural(target: Target) -> NaturalGradient:
    """Return the search for the best normal in hundreds of dimensions, where each set of draws is dear."""
    draws = enough_draws(affordable(target, FIRST_DRAWS, 1), target.dim)
    enough = max(ENOUGH, ENOUGH_PER_DIMENSION * target.dim)
    return NaturalGradient(num_draws=draws, max_draws=draws, max_steps=NATURAL_STEPS, tolerance=0.02, enough=enough)


def is_grouped(target: Target) -> bool:
    """Return whether a model has numbers for several groups, times or places, and a few that all of them may share.

    They are in a plate, or their prior depends on other sites, as that of a random walk depends on its steps' sd.
    """
    if not any(site.size <= MOST_SHARED for site in target.sites):
        return False
    in_plate = {name for name, plates in target.density.dims if any(plates)}
    several = {site.name for site in target.sites if site.size >= FEWEST_GROUPS}
    return bool(several & in_plate) or bool(several and several & set(hierarchical_sites(target)))


def is_dear(target: Target) -> bool:
    """Return whether the best normal takes so long that there has to be as much to gain as by any other candidate."""
    price, gradients = price_of(target), 3 * PER_DIMENSION * target.dim * STEPS_OF_NORMAL
    return price.share < 1 and gradients * price.operations > DEAR


def skewed(target: Target) -> SampleAverageApproximation:
    """Return the search for a skewed normal, with few draws: what they leave open is little beside what it gains."""
    draws = enough_draws(DRAWS_OF_SKEWED, target.dim)
    most = STEPS_OF_SKEWED * draws
    return SampleAverageApproximation(
        Skewed(), num_draws=draws, max_draws=2 * draws, tolerance=0.05, max_gradients=most
    )
