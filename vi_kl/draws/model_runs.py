"""Runs of a target's model at many draws of z: what is predicted, and the log probability of each observation.

Requires a target whose source offers "forward". Discrete sites that were summed out are drawn from their posterior
given each z, so that the draws are joint ones of everything that is unknown. Draws are run in batches that hold
`MEMORY` bytes at most, by programs that are compiled once for all targets of one structure.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vi_kl.core.annotations import Progress
from vi_kl.core.compilation import compiled
from vi_kl.core.errors import ModelError, ModelWarning
from vi_kl.core.kept_programs import tracing
from vi_kl.core.programs.measure import size_of
from vi_kl.targets.density import require_capability
from vi_kl.targets.forward import LATENT as LATENT
from vi_kl.targets.forward import OBSERVED as OBSERVED
from vi_kl.targets.forward import ForwardRun, ForwardSite
from vi_kl.targets.price import FUSED, that_fit
from vi_kl.targets.priors import improper_sites
from vi_kl.targets.target import Target, constrain_in_chunks, in_chunks

ROWS = 256  # draws at once: what a model computes may be as long as its data
USUAL = 1_000  # draws, if nobody says how many
KEY = jax.ShapeDtypeStruct((2,), np.uint32)  # the data of a random key

Drawn = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class ModelRuns:
    """A target's model, to be run at draws of z.

    Attributes:
        target: the target.
        run: its model, with the target's own arguments.
        arrays: the arrays of `run`.
    """

    target: Target
    run: ForwardRun
    arrays: Any

    @classmethod
    def of(cls, target: Target, user: str) -> "ModelRuns":
        """Return the runs of a target's model.

        Args:
            target: the target.
            user: who needs them, as an error message begins.

        Raises:
            UnsuitableError: the target's source cannot run its model forward; the message says what to do instead.
        """
        require_capability(target, "forward", user)
        return cls(target, *target.density.forward(target.data))

    @functools.cached_property
    def sites(self) -> dict[str, ForwardSite]:
        """All sites of a run with the target's own arguments, by name."""
        return self.run.describe(self.arrays, {})

    def named(self, kind: str) -> list[str]:
        """Return the names of the sites of this kind."""
        return [name for name, site in self.sites.items() if site.kind == kind]

    def observed(self) -> Drawn:
        """Return the data of each observed site."""
        run, arrays = self.run.captured(self.arrays, observed=())
        return jax.tree.map(np.asarray, observed_data(arrays, run))

    def constants(self) -> Drawn:
        """Return the arrays that the model is given, by the names of its arguments."""
        return self.run.constants(self.arrays)

    def values(self, z: np.ndarray, key: jax.Array, report: Progress) -> Drawn:
        """Return values of all latent sites, the discrete ones among them, at z of shape (n, dim)."""
        values = constrain_in_chunks(self.target, z)
        if not self.target.density.discrete:
            return values
        unconstrained = np.split(z, np.cumsum([site.size for site in self.target.sites])[:-1], axis=1)
        sites = {
            site.name: part.reshape(len(z), *site.unconstrained_shape)
            for site, part in zip(self.target.sites, unconstrained, strict=True)
        }
        return values | over_draws("draw_discrete", self.run, self.arrays, (sites, keys_for(key, len(z))), None, report)

    def log_probs(self, values: Drawn, names: Sequence[str], report: Progress) -> Drawn:
        """Return the log probability of each entry of these sites, {site: (n, ...)}, at values of all latent ones."""
        values = {name: x for name, x in values.items() if name in self.sites}
        return over_draws("log_probs", self.run, self.arrays, (values,), tuple(names), report)


def predict(
    runs: ModelRuns,
    values: Drawn,
    key: jax.Array,
    report: Progress,
    *,
    arguments: tuple[tuple, dict] | None = None,
    sites: Collection[str] | None = None,
    redraw: Collection[str] = (),
) -> Drawn:
    """Run the model forward once for each draw; return {site: (n, ...)}.

    Args:
        runs: the target's model.
        values: the draws of all latent sites.
        key: a random key.
        report: a function to report progress to.
        arguments: the model's new arguments, (args, kwargs); None for the target's own.
        sites: the sites to return; by default all that the run draws or computes.
        redraw: latent sites to be drawn anew, given the others.

    Raises:
        ModelError: a latent site has another shape with these arguments, and is not to be drawn anew; or a site cannot
            be drawn.
        ValueError: there is no site of such a name, or nothing to predict.
    """
    run, arrays = runs.run, runs.arrays
    if arguments is not None:
        run, arrays = runs.target.density.forward(runs.target.data, arguments)
    found = runs.sites if arguments is None else run.describe(arrays, {})
    given = kept_values(values, found, redraw)
    names = asked_sites(found, given, sites)
    n = len(next(iter(values.values())))
    drawn = tuple(name for name in names if name not in given)
    if drawn:
        look = arguments is not None  # of its own data a target has told
        given |= simulated(run, arrays, (given, keys_for(key, n)), drawn, report, look=look)
    return {name: given[name] for name in names}


def predict_prior(runs: ModelRuns, key: jax.Array, n: int, report: Progress) -> Drawn:
    """Draw every site of the model n times, from the prior on.

    Raises:
        ModelError: a latent site has an improper prior, and cannot be drawn.
    """
    improper = improper_sites(runs.target)
    if improper:
        raise ModelError(
            f"Latent site '{improper[0]}' has an improper prior, from which nothing can be drawn: give it a proper "
            f"one, or do without draws of the prior."
        )
    return simulated(runs.run, runs.arrays, ({}, keys_for(key, n)), tuple(runs.sites), report)


def simulated(
    run: ForwardRun, arrays, rows: tuple, names: tuple[str, ...], report: Progress, *, look: bool = False
) -> Drawn:
    """Run the model forward for each row of (values, keys).

    If it is to `look`, it warns of indices among the data that lie outside of what they index.
    """
    try:
        return over_draws("simulate", run, arrays, rows, names, report, look)
    except NotImplementedError as error:
        raise ModelError(
            f"The model '{run}' cannot be run forward: one of its sites has a distribution that cannot be drawn from "
            f"({error or 'an improper prior'}). Leave out of `redraw` what has an improper prior."
        ) from error


def kept_values(values: Drawn, found: Mapping[str, ForwardSite], redraw: Collection[str]) -> Drawn:
    """Return the values that a run is given; refuse those of another shape than it has."""
    unknown = [name for name in redraw if name not in values]
    if unknown:
        raise ValueError(f"redraw names '{unknown[0]}', which is no latent site: these are {', '.join(values)}.")
    kept = {name: x for name, x in values.items() if name in found and name not in redraw}
    for name, x in kept.items():
        if x.shape[1:] != found[name].shape:
            raise ModelError(other_shape(name, x.shape[1:], found[name].shape))
    return kept


def other_shape(name: str, then: tuple[int, ...], now: tuple[int, ...]) -> str:
    """Say that a latent site has another shape with new arguments, and what to do."""
    is_less = len(now) == len(then) and all(a <= b for a, b in zip(now, then, strict=True))
    some = (
        "If the model counts its groups in the data, and the new data have only some of them, let it take their number "
        "as an argument, and fit it so. "
    )
    return (
        f"Latent site '{name}' has shape {then} in the posterior, and {now} with the new arguments. "
        f"{some if is_less else ''}If its entries are new ones (groups or rows that the data do not have), draw them "
        f"from the model given the other sites: redraw=['{name}']."
    )


def asked_sites(found: Mapping[str, ForwardSite], given: Drawn, asked: Collection[str] | None) -> list[str]:
    """Return the names of the sites to return: those that were asked for, or all that are drawn or computed."""
    if asked is None:
        names = [name for name in found if name not in given]
        if not names:
            raise ValueError(
                f"The model has no observed site and computes nothing by name, so there is nothing to predict: its "
                f"sites are {', '.join(found)}. Name those to return by sites=[...]."
            )
        return names
    asked = [asked] if isinstance(asked, str) else list(asked)
    unknown = [name for name in asked if name not in found]
    if unknown:
        raise ValueError(f"The model has no site '{unknown[0]}': there are {', '.join(found)}.")
    return asked


def usual_number(shapes: Collection[tuple[int, ...]]) -> int:
    """Return how many draws are taken by default of arrays of these shapes: fewer where they would fill the memory."""
    return that_fit(8 * sum(math.prod(shape) for shape in shapes), USUAL)


def keys_for(key: jax.Array, n: int) -> np.ndarray:
    """Return the data of n keys, (n, 2)."""
    return np.asarray(jax.random.key_data(jax.random.split(key, n)))


def over_draws(method: str, run: ForwardRun, arrays, rows: tuple, names, report: Progress, look: bool = False) -> Drawn:
    """Call a method of a run with each row of the arguments, whose leaves have n rows, in batches."""
    leaves, structure = jax.tree.flatten(rows)
    one = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in leaves])
    with tracing:
        run, arrays = run.captured(arrays, **{method: one})
    for words in run.misses(arrays, rows[0]) if look else ():
        warnings.warn(words, ModelWarning, stacklevel=2)
    with tracing:
        size = rows_at_once(functools.partial(one_row, run=run, method=method, names=names), arrays, one)
    done = 0

    def batch(*leaves):
        nonlocal done
        found = run_rows(arrays, jax.tree.unflatten(structure, leaves), run, method, names)
        done += len(leaves[0])
        report(min(1.0, done / total), f"{min(done, total):,} of {total:,} draws")
        return found

    total = len(leaves[0])
    return in_chunks(batch, *leaves, size=min(size, total))


def rows_at_once(function: Callable, arrays, one: tuple) -> int:
    """Return how many rows may be run at once, of which `one` is the shape of each."""
    given, structure = jax.tree.flatten((arrays, one))
    traced = jax.make_jaxpr(lambda *leaves: function(*jax.tree.unflatten(structure, leaves)))(*given)
    fixed = len(jax.tree.leaves(arrays))
    held = size_of(traced, [False] * fixed + [True] * (len(given) - fixed)).kept
    return that_fit(FUSED * held, ROWS)


def one_row(arrays, row: tuple, run: ForwardRun, method: str, names: tuple[str, ...] | None) -> dict:
    found = getattr(run, method)(arrays, *row)
    return found if names is None else {name: found[name] for name in names}


def is_small(arrays, rows, *static) -> bool:
    """Return whether so few numbers are read that compiling takes longer than even a slow program runs."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves((arrays, rows))) < 200_000


@compiled(static=("run", "method", "names"), unoptimized=is_small)
def run_rows(arrays, rows: tuple, run: ForwardRun, method: str, names: tuple[str, ...] | None) -> dict:
    return jax.vmap(lambda *row: one_row(arrays, row, run, method, names))(*rows)


@compiled(static=("run",), unoptimized=True)
def observed_data(arrays, run: ForwardRun) -> dict:
    return run.observed(arrays)
