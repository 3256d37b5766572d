"""Judge q without importance weights, by short chains that start at its draws: what they prove, and what they cannot.

The averages that are compared are those of every entry of every site, as the model sees it, and of the log density,
which tells whether q as a whole is too narrow or too wide. Where the chains go to places that q hardly ever visits,
they are starts for climbs to modes that it misses.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.records import WORKING, store
from vi_kl.diagnostics.effort import Effort
from vi_kl.diagnostics.evidence import Draws
from vi_kl.diagnostics.movement import Shift, compare, has_moved, least_kl, notable_shifts
from vi_kl.diagnostics.scouts import apart
from vi_kl.diagnostics.short_chains import FORGOTTEN, PIECE, Run, normal_around, run_short_chains
from vi_kl.families.approximation import Approximation
from vi_kl.targets.price import part_of_draws, price_of, rows_held
from vi_kl.targets.target import Target, constrain_in_chunks

CHAINS = 1024  # the number of chains that are asked for
UNASKED = 256  # the number of chains otherwise: with their pilots they take half of a run of NUTS, or a little more
CHEAP = 130_000  # operations of an evaluation, up to which as many are run unasked: they take about ten seconds
STUCK = 0.5  # the correlation of an entry's start and end above which the chains moved too little to judge it
MOST_TOLD = 20  # shifts that are kept, the worst
MOST_STARTS = 3  # climbs from where the chains went
FEWEST_AWAY = 2  # chains that end where q has no draws, by chance less than once in five hundred runs with a right q
DENSITY = "the log density"


@dataclasses.dataclass(frozen=True)
class ShortChains:
    """What short chains from q's draws to the posterior found.

    Attributes:
        num_chains: the number of chains, each from its own draw of q.
        num_moves: the moves of each chain.
        gradients: the gradients of the log density that they took, with the chains that chose their settings.
        acceptance: the mean acceptance of a move.
        memory: the share of the variance of the coordinate that remembers longest which the start of a chain still
            explains after half of its moves.
        still_moving: whether some average changed, provably, in the second half of the moves.
        stuck: entries in which the chains moved too little for anything to be said of them.
        shifts: averages of q that are proved wrong by more than a negligible error, all of them with 95% confidence,
            one for each entry; the worst first, that of the log density last, and no more than twenty.
        num_shifts: the number of all of them.
        mean_within: an upper bound of the errors of all means but the stuck, in posterior sds, if the chains have
            settled and are stuck in no part of the posterior.
        sd_within: the same of the sds, as a factor.
        kl_at_least: a lower bound of KL(q||posterior), in nats, from the change of the probability of one event, with
            95% confidence, whether or not the chains have settled.
        away: the share of the chains that ended where q's density is lower than at all of its draws.
        starts: some of these ends, (k, dim), the densest, from which climbs start.
        settled: whether the chains have forgotten their starts, and moved no average any more. Only then are bounds of
            errors meant for the posterior, and not for what lies between it and q.
    """

    num_chains: int
    num_moves: int
    gradients: int
    acceptance: float
    memory: float
    still_moving: bool
    stuck: tuple[str, ...]
    shifts: tuple[Shift, ...]
    num_shifts: int
    mean_within: float
    sd_within: float
    kl_at_least: float
    away: float
    starts: np.ndarray = dataclasses.field(metadata=WORKING, repr=False)
    settled: bool = dataclasses.field(init=False)

    def __post_init__(self):
        store(self, settled=self.memory <= FORGOTTEN and not self.still_moving)

    @property
    def of_sites(self) -> tuple[Shift, ...]:
        """The shifts of the model's sites, without that of the log density."""
        return tuple(shift for shift in self.shifts if shift.entry != DENSITY)

    @property
    def effort(self) -> str:
        """How many chains there were, of how many moves, and what they cost."""
        return f"{self.num_chains:,} of {self.num_moves} moves, {self.gradients:,} gradients"

    @property
    def worst_correlation(self) -> float:
        """The largest lower bound of an error of a correlation; 0 without one."""
        return max((shift.at_least for shift in self.shifts if shift.what == "correlation"), default=0.0)


def num_short_chains(target: Target, effort: Effort, *, asked: bool) -> int:
    """Return the number of short chains that is worth its price, or 0 if too few are.

    Chains that are asked for are run at any price, but with no more than fit into memory.
    """
    price = price_of(target)
    share, usual = max(effort.share, price.share), CHAINS
    if not asked:
        share, usual = min(share, CHEAP / max(price.operations, 1)), UNASKED
    worth = part_of_draws(share, usual, PIECE if asked else 1)
    number = min(worth, rows_held(usual, target.dim))
    return 0 if target.density.is_streamed or number < PIECE else number


def judge_by_short_chains(
    q: Approximation, draws: Draws, view, key, num_chains: int, report: Callable
) -> ShortChains | None:
    """Run short chains from draws of q, and compare where they end with q.

    Args:
        q: the approximation.
        draws: the draws of q that the certificate weighs.
        view: the surroundings of q.
        key: a JAX random key.
        num_chains: a multiple of PIECE.
        report: a function that is called with the share of the work that is done.

    Returns:
        What they found; None if q's draws do not span the space, or none of their values are finite.
    """
    normal = normal_around(q, view.pilot.z)
    if normal is None:
        return None
    run = run_short_chains(q, normal, key, num_chains, report)
    before, middle, after = (
        columns(q.target, *x) for x in zip((run.starts, run.middles, run.ends), run.log_p, strict=True)
    )
    judged = varies(before, after)
    if not judged.any():
        return None
    before, middle, after = before[:, judged], middle[:, judged], after[:, judged]
    names = [name for name, is_judged in zip(column_names(q.target), judged, strict=True) if is_judged]
    found = compare(before, after, columns(q.target, draws.z, draws.log_p)[:, judged], num_sites=judged[:-1].sum())
    shifts = sorted(notable_shifts(found, names), key=lambda shift: shift.entry == DENSITY)
    stuck = memory_of_pairs(before, after) > STUCK
    told = ~stuck & (np.array(names) != DENSITY)  # which tells of q as a whole, and is no average that anybody reads
    away, starts = where_q_has_no_draws(run, draws, view, normal)
    return ShortChains(
        num_chains=num_chains,
        num_moves=run.settings.num_moves,
        gradients=run.gradients,
        acceptance=run.acceptance,
        memory=run.settings.memory,
        still_moving=has_moved(middle, after),
        stuck=tuple(name for name, is_stuck in zip(names, stuck, strict=True) if is_stuck),
        shifts=tuple(shifts[:MOST_TOLD]),
        num_shifts=len(shifts),
        mean_within=float(found["mean"].at_most[told].max(initial=0.0)),
        sd_within=float(np.exp(found["sd"].at_most[told].max(initial=0.0))),
        kl_at_least=least_kl(before, after),
        away=away,
        starts=starts,
    )


def columns(target: Target, z: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """Return the values of every entry of every site at z, and the log density last, one column for each."""
    sites = constrain_in_chunks(target, z)
    return np.column_stack([*(x.reshape(len(x), -1) for x in sites.values()), log_p])


def column_names(target: Target) -> list[str]:
    """Return the name of each of the columns: `mu`, `theta[0]`, ..., and that of the log density."""
    shapes = {name: x.shape[1:] for name, x in constrain_in_chunks(target, np.zeros((1, target.dim))).items()}
    entries = [
        name + ("[" + ",".join(map(str, index)) + "]" if shape else "")
        for name, shape in shapes.items()
        for index in np.ndindex(*shape)
    ]
    return [*entries, DENSITY]


def varies(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return which columns vary and are finite everywhere; the others have no averages to compare."""
    both = np.concatenate([before, after])
    with np.errstate(invalid="ignore"):
        return np.isfinite(both).all(axis=0) & (np.ptp(both, axis=0) > 0)


def memory_of_pairs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the correlation of each column before and after the moves; 1 where one of the two does not vary."""
    centred = before - before.mean(axis=0), after - after.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (centred[0] * centred[1]).mean(axis=0) / (before.std(axis=0) * after.std(axis=0))
    return np.where(np.isfinite(found), found, 1.0)


def where_q_has_no_draws(run: Run, draws: Draws, view, normal: Gaussian) -> tuple[float, np.ndarray]:
    """Return the share of the chains that ended where q is thinner than at all of its draws, and places among them.

    The places, (k, dim), are the densest, and apart from each other.
    """
    away = view.log_q(run.ends) < draws.log_q.min()
    ends, log_p = run.ends[away], run.log_p[2, away]
    if len(ends) < FEWEST_AWAY:
        return 0.0, ends[:0]
    return float(away.mean()), apart(ends[np.argsort(-log_p)], normal.scale, MOST_STARTS)
