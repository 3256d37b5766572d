"""Forward projection onto an exponential family: the member that has p's expected sufficient statistics.

There is no optimisation: KL(p||q) over the family is smallest where the moments agree, and then it splits as Pythagoras
would have it, KL(p||q) = KL(p||nearest) + KL(nearest||q) for every member q (Csiszár 1975).
"""

import dataclasses
import math

import jax
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.compilation import compiled
from vi_kl.divergences.estimators.quadrature import NotApplicable
from vi_kl.divergences.projection.families import CLOSED, ParametricFamily
from vi_kl.divergences.projection.formulas import formulas
from vi_kl.divergences.projection.moments import Draws, NoFormula, NoMoment, Points
from vi_kl.divergences.projection.nodes import nodes_of, nodes_of_pmf
from vi_kl.divergences.registry import describe

UNSURE = 0.5  # a k-hat above which the mean of draws has no standard error
BATCHES = 32  # batches of draws; the spread of the parameters between them gives their standard errors
SETTLED = 1e-7  # the largest relative change of a parameter when the quadrature is refined


@dataclasses.dataclass(frozen=True)
class Match:
    """A record of the nearest member's parameters and how they were found.

    It has standard errors if draws were used.
    """

    params: dict
    method: str
    standard_errors: dict | None = None
    k_hat: float = -math.inf  # the heaviest tail among the draws' statistics

    @property
    def status(self) -> str:
        if self.standard_errors is None:
            return "the member with p's moments."
        status = "the member with the draws' moments; params_standard_error says how far p's may be from them."
        if self.k_hat > UNSURE:
            status += f" Those errors are too small: the tails are heavy (k-hat {self.k_hat:.2f})."
        return status


def match_moments(p, family: ParametricFamily, given: dict, key, num_draws: int) -> Match:
    """Find the member of an exponential family whose expected sufficient statistics are p's.

    The moments come from formulas if they are known, else from sums over p's support or from quadrature, else
    from draws.

    Raises:
        NoMoment: p lacks a moment that the family needs, or no member has p's.
        ValueError: only draws are left, and there is no key.
    """
    if not isinstance(p, Distribution):
        points = nodes_of_pmf(p).points()
        return described(family, family.like(points, given), f"moments by exact {points.method}")
    try:
        source = formulas(p)
        return described(family, family.like(source, given), f"moments in {source.method}")
    except NoFormula:
        pass
    try:
        return match_by_nodes(p, family, given)
    except NotApplicable as failure:
        reason = str(failure)
    if key is None:
        raise ValueError(
            f"The moments of {describe(p)} that {family.name} needs can only be computed from draws ({reason}):"
            " pass key=jax.random.key(0), say."
        )
    return match_by_draws(p, family, given, key, num_draws)


def described(family, params, moments, standard_errors=None) -> Match:
    check_interior(family, params)
    if moments == "moments in closed form" and family.solved == CLOSED:
        return Match(params, "moment matching (closed form)", standard_errors)
    solved = "" if family.solved == CLOSED else f"; {family.solved}"
    return Match(params, f"moment matching ({moments}{solved})", standard_errors)


def check_interior(family, params):
    """Refuse a p on the edge of the family: no member has its moments."""
    for name, value in params.items():
        constraint = family.parameters[name]
        if not (np.all(np.isfinite(value)) and np.all(constraint(value))):
            raise NoMoment(
                f"No {family.name} has p's moments: they ask for {name} = {value}, which is not {constraint}. p has no"
                " spread, or lies where no member does; the divergence has no minimum inside the family."
            )


def match_by_nodes(p, family, given) -> Match:
    coarse, fine = (nodes_of(p, halvings).points() for halvings in ((0, 1) if not p.is_discrete else (0, 0)))
    params, before = family.like(fine, given), family.like(coarse, given)
    change = max(np.max(np.abs(params[name] - before[name]) / (1 + np.abs(params[name]))) for name in params)
    if not change <= SETTLED:
        raise NotApplicable(f"the moments of {describe(p)} still change by {change:.1g} when the quadrature is refined")
    return described(family, params, f"moments by {fine.method}")


def match_by_draws(p, family, given, key, num_draws) -> Match:
    draws = np.asarray(draw(p, key, num_draws), dtype=np.float64)
    points = Draws(draws)
    params = family.like(points, given)
    batches = [family.like(Points(batch, np.ones(len(batch)), ""), given) for batch in np.array_split(draws, BATCHES)]
    errors = {name: np.std([batch[name] for batch in batches], axis=0, ddof=1) / BATCHES**0.5 for name in params}
    return dataclasses.replace(described(family, params, f"moments from {points.method}", errors), k_hat=points.k_hat)


@compiled(static=("num_draws",))
def draw(p, key, num_draws):
    return p.sample(key, (num_draws,))


def starting_draws(p) -> Points:
    """Return a few draws, always the same, to start a descent from."""
    draws = np.asarray(draw(p, jax.random.key(0), 2000), dtype=np.float64)
    return Points(draws, np.ones(len(draws)), "draws")
