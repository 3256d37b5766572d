"""CoordinateAscent: mean-field VI in closed form, for conjugate models. The textbook case (CAVI).

Requires of the target: a NumPyro model in which every latent site, given all others, is normal (real sites), gamma or
inverse gamma (positive), or beta (unit interval). Whether it is, is tested on the log density itself, which must be
linear in that family's statistics; if it is not, the error names the site. The q is a product over sites: all entries
of a real site are jointly normal, those of other sites independent.

How: if every conditional is of that form, the log joint is linear in each site's statistics with the others fixed. So
its values on a small grid, with one more point per site than the site has statistics, determine it, and every
expectation that an update needs is a weighted sum over that grid. The model is evaluated there once; updates are linear
algebra, and the ELBO is exact.

References: Bishop (2006), Pattern Recognition and Machine Learning, section 10.1; Blei, Kucukelbir & McAuliffe
(2017), "Variational inference: a review for statisticians", JASA 112.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from vi_kl.algorithms.algorithm import Algorithm, CostCounter, FitError, History, Solution, Status
from vi_kl.algorithms.conjugate_sites import (
    BetaSite,
    ConjugateGuide,
    ConjugateSite,
    GammaSite,
    InverseGammaSite,
    NormalSite,
)  # fmt: skip
from vi_kl.algorithms.initialization import initialize
from vi_kl.core.compilation import compiled
from vi_kl.core.kept_programs import tracing
from vi_kl.core.random_keys import numpy_generator, split
from vi_kl.families.approximation import Approximation
from vi_kl.families.guide import Guide
from vi_kl.targets.density import require_capability
from vi_kl.targets.target import Target, in_chunks, log_density

FAMILIES = [
    (constraints.real, [NormalSite]),
    (constraints.real_vector, [NormalSite]),
    (constraints.positive, [GammaSite, InverseGammaSite]),
    (constraints.nonnegative, [GammaSite, InverseGammaSite]),
    (constraints.unit_interval, [BetaSite]),
]
LARGEST_GRID = 200_000  # evaluations of the log density
ROWS = 256
TESTS = 32  # random points at which each site's conditional is compared with its family
LINEAR = 1e-7  # the largest deviation of a linear function, relative to the variation of the log density


@dataclasses.dataclass(frozen=True)
class CoordinateAscent(Algorithm):
    """Coordinate ascent: the best factor of each site in turn, given the others.

    Attributes:
        tolerance: the rise of the ELBO, in nats, below which a sweep is the last.
        max_steps: the most sweeps over all sites.
    """

    tolerance: float = 1e-9
    max_steps: int = 1000

    name = "coordinate_ascent"

    def find(self, key, target, *, start, progress, counter):
        candidates = candidate_sites(target)
        start_key, test_key = split(key)
        frame = initialize(target, start_key, counter, start).frame
        scale = np.minimum(frame.normal.sd, 1.0)
        model = Conjugate(target, candidates, np.asarray(frame.loc), scale, numpy_generator(test_key), counter)
        members, elbos = sweep(self, model, progress)
        guide = ConjugateGuide(tuple(model.sites))
        q = Approximation(Guide(guide, self.name), guide.params(members), target)
        return Solution(q, status(self, elbos), History(-np.array(elbos)))


def candidate_sites(target: Target) -> list[list[ConjugateSite]]:
    """Return, for each site, the families that its support allows."""
    for capability in ("supports", "numpyro_guides"):  # q is a guide, with one distribution for each site
        require_capability(target, capability, "Coordinate ascent", FitError)
    with tracing:
        supports = target.density.supports(target.data, target.unravel(jnp.zeros(target.dim)))
    found = []
    for site in target.sites:
        support = supports[site.name]
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        families = next((families for kind, families in FAMILIES if support is kind), None)
        if families is None:
            raise FitError(
                f"Coordinate ascent knows sites that are real, positive or in the unit interval; '{site.name}' has the "
                f"support {support}. Fit 'full_rank' by SVI."
            )
        found.append([family(site.name, site.shape, site.size) for family in families])
    return found


@compiled(unoptimized=True)
def log_joint_rows(target: Target, z):
    """Return the log joint density of the sites as the model sees them, without the change of variables.

    Args:
        target: the posterior.
        z: unconstrained values of the sites, (n, dim).
    """

    def one(z):
        log_det = target.density.constrain(target.data, target.unravel(z))[1]
        return log_density(target, z) - log_det

    return jax.vmap(one)(z)


class Conjugate:
    """A model's log joint density as a table over a grid: it is linear in the statistics of each site.

    Attributes:
        sites: the sites, each with the family that was found for it.
        table: the values of the log joint density, one axis per site.
    """

    def __init__(self, target: Target, candidates, loc, scale, generator, counter: CostCounter):
        ends = np.cumsum([site.size for site in target.sites])[:-1]
        self.target, self.loc, self.scale, self.counter = target, loc, scale, counter
        self.slices = np.split(np.arange(target.dim), ends)
        # several values for the others, so that what is linear at one of them only does not pass
        others = [np.zeros(target.dim), *generator.uniform(-1, 1, (3, target.dim))]
        self.sites = [self.conjugate(i, families, others, generator) for i, families in enumerate(candidates)]
        sizes = [len(site.design()) for site in self.sites]
        if math.prod(sizes) > LARGEST_GRID:
            names = ", ".join(f"'{site.name}' ({size})" for site, size in zip(self.sites, sizes, strict=True))
            raise FitError(
                f"Coordinate ascent would need {math.prod(sizes):,} evaluations, the product of the sites' numbers of "
                f"statistics and one: {names}. Above {LARGEST_GRID:,}, fit 'mean_field' by SVI."
            )
        index = np.indices(sizes).reshape(len(sizes), -1)
        designs = [site.design()[i] for site, i in zip(self.sites, index, strict=True)]
        self.table = self.log_joint(np.concatenate(designs, axis=1)).reshape(sizes)
        self.inverses = [np.linalg.inv(self.basis(i, site.design())) for i, site in enumerate(self.sites)]

    def log_joint(self, v: np.ndarray) -> np.ndarray:
        """Return the log joint density at v of shape (n, dim), in the sites' units."""
        self.counter.density_evaluations += len(v)
        return in_chunks(lambda z: log_joint_rows(self.target, z), self.loc + self.scale * v, size=ROWS)

    def basis(self, i: int, v: np.ndarray, site: ConjugateSite | None = None) -> np.ndarray:
        """Return one and the statistics of site i, (n, number of statistics + 1), at v of shape (n, size)."""
        found = (site or self.sites[i]).statistics(v, self.loc[self.slices[i]], self.scale[self.slices[i]])
        return np.concatenate([np.ones((len(v), 1)), found], axis=1)

    def conjugate(self, i: int, families, others, generator) -> ConjugateSite:
        """Return the first of the families in whose statistics the log joint is linear, for any other sites' values.

        Raises:
            FitError: It is linear in none.
        """
        tests = generator.uniform(-1.5, 1.5, (TESTS, len(self.slices[i])))
        for site in families:
            points = np.concatenate([site.design(), tests])
            if all(self.is_linear(i, site, points, other) for other in others):
                return site
        kinds = " or ".join(site.kind for site in families)
        raise FitError(
            f"Coordinate ascent needs conjugate sites, and '{families[0].name}' given the other sites is not {kinds}: "
            f"its log density is not linear in the statistics of that family. Fit 'full_rank' by SVI."
        )

    def is_linear(self, i: int, site: ConjugateSite, points: np.ndarray, other: np.ndarray) -> bool:
        """Return whether the log joint is linear in the statistics of site i, with the other sites fixed."""
        v = np.tile(other, (len(points), 1))
        v[:, self.slices[i]] = points
        values, basis = self.log_joint(v), self.basis(i, points, site)
        if not np.isfinite(values).all():
            return False
        known = len(points) - TESTS
        values = values - values[0]
        predicted = basis @ np.linalg.solve(basis[:known], values[:known])
        return bool(np.abs(values - predicted).max() < LINEAR * max(1.0, np.abs(values).max()))

    def member(self, i: int, weights: list[np.ndarray]) -> dict:
        """Return the best factor of site i, with the others' expectations as sums over the grid with these weights."""
        site, table = self.sites[i], self.table
        for axis in reversed(range(len(self.sites))):
            if axis != i:
                table = np.tensordot(table, weights[axis], axes=(axis, 0))
        slopes = (self.inverses[i] @ (table - table[0]))[1:]
        member = site.member(slopes, self.loc[self.slices[i]], self.scale[self.slices[i]])
        if member is None:
            raise FitError(
                f"The best {site.kind} factor of '{site.name}' cannot be normalised: given the others its density has "
                f"no finite integral. Does it have a proper prior?"
            )
        return member

    def weights(self, i: int, member: dict) -> np.ndarray:
        """Return the weights of the grid's points under which the statistics have the member's expectations."""
        expected = self.sites[i].expected(member, self.loc[self.slices[i]], self.scale[self.slices[i]])
        return np.concatenate([[1.0], expected]) @ self.inverses[i]

    def elbo(self, members: list[dict], weights: list[np.ndarray]) -> float:
        """Return the exact ELBO of all factors together."""
        value = self.table
        for weight in reversed(weights):
            value = value @ weight
        return float(value) + sum(site.entropy(m) for site, m in zip(self.sites, members, strict=True))


def sweep(config: CoordinateAscent, model: Conjugate, progress) -> tuple[list[dict], list[float]]:
    """Update every site in turn, starting with all of them at the centre of the grid, until the ELBO stands still."""
    weights = [np.eye(len(site.design()))[0] for site in model.sites]
    members: list[dict] = [{} for _ in model.sites]
    elbos: list[float] = []
    while len(elbos) < config.max_steps:
        for i in range(len(model.sites)):
            members[i] = model.member(i, weights)
            weights[i] = model.weights(i, members[i])
        elbos.append(model.elbo(members, weights))
        progress(len(elbos) / config.max_steps, f"sweep {len(elbos)}: ELBO {elbos[-1]:.6g}")
        if has_settled(config, elbos):
            break
    return members, elbos


def has_settled(config: CoordinateAscent, elbos: list[float]) -> bool:
    """Return whether the last sweep raised the ELBO by less than the tolerance."""
    return len(elbos) > 1 and elbos[-1] - elbos[-2] < config.tolerance


def status(config: CoordinateAscent, elbos: list[float]) -> Status:
    """Say how the sweeps ended."""
    if has_settled(config, elbos):
        return Status(True, f"Converged after {len(elbos)} sweeps; the ELBO is {elbos[-1]:.6g} nats, exactly.")
    return Status(
        False,
        f"Not converged: the ELBO still rises after {len(elbos)} sweeps; raise max_steps (now {config.max_steps}).",
    )
