"""Learning: the part of an SVI run that has to do with the model's parameters, which are learned along with q.

The loss is -ELBO of q and of the posterior at the parameters, and it falls in both: where q is the exact posterior it
is -log evidence, and the parameters are those of largest evidence (maximum marginal likelihood, empirical Bayes). Else
they are of the largest lower bound (variational expectation maximisation).

Parameters have no posterior sd to measure their errors by. Their units are the changes that cost about half a nat with
q as it is, along the directions of the loss's second derivatives. They shrink with the root of the number of rows, and
the way from where a parameter begins does not: so its steps are in units of what a single row could tell of it. As
parameters move, so do these units, and so does the posterior. So now and then a run that learns looks at both, and
where a scale has left that of the frame or of a unit, it goes on in new ones, from the first step size.

References: Neal & Hinton (1998), "A view of the EM algorithm that justifies incremental, sparse, and other variants";
Bekas, Kokiopoulou & Saad (2007), "An estimator for the diagonal of a matrix".
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vi_kl.algorithms.algorithm import Status
from vi_kl.algorithms.svi.schedule import flat
from vi_kl.algorithms.svi.step import Params, first_state, loss_at, placed
from vi_kl.core.compilation import compiled
from vi_kl.core.pytrees import to_numpy
from vi_kl.families.frame import Frame

MOST = 100  # free numbers, above which only the loss says whether they are learned, as for a network's weights
FEW = 12  # free numbers, up to which the units are those of all second derivatives, and not of each number's own
PROBES = 8  # random directions along which second derivatives are taken where there are more
KEYS = 8  # evaluations of the loss over which they are averaged
STEP = 1e-3  # of the differences between gradients
FLATTEST = 1e-2  # the least second derivative that is assumed
FAR = 2.0  # the ratio of two scales beyond which a run goes on in the new one
MOST_FRAMES = 40  # frames of one run


class Learning:
    """What an SVI run does about the model's parameters; nothing if there is none to learn.

    Attributes:
        run: the run.
        names: the names of the parameters to learn.
        frames, chunks: the number of frames and of chunks so far.
        has_settled: whether the step size was ever cut.
    """

    def __init__(self, run: Any):
        self.run = run
        density = run.target.density
        self.names: tuple[str, ...] = () if density.is_learned else density.learnable
        self.frames = self.chunks = 0
        self.has_settled = False

    def begin(self, q: Any, units: Any) -> None:
        """Let the run start from these parameters of q and their units, and the model's parameters as they are."""
        self.start(Params(q, self.run.target.free_parameters() if self.names else ()), units)

    def start(self, params: Params, units: Any) -> None:
        """Let the run go on from these parameters."""
        run = self.run
        self.frames += 1
        found = self.units_at(params, units)
        run.schedule.learned_units = found
        run.units = run.as_kept(Params(units, self.of_steps(found)))
        run.state = run.as_kept(first_state(params, run.optimizer))

    def look(self, mean: Params, was_cut: bool) -> None:
        """Look at the frame and the units, after a cut of the step size, and after 1, 2, 4, 8, ... chunks.

        Args:
            mean: the mean of the iterates of the last chunk.
            was_cut: whether the step size was cut after it.
        """
        self.chunks += 1
        if not self.names or self.frames >= MOST_FRAMES or self.run.config.decay != "cut":
            return
        self.has_settled |= was_cut
        if (was_cut or self.chunks & (self.chunks - 1) == 0) and self.has_left(mean):
            self.go_on_from(mean)

    def has_left(self, mean: Params) -> bool:
        """Return whether a scale of q, or a unit of what is learned, is far from that in which the run is written."""
        run = self.run
        new, units = self.frame_at(mean), self.units_at(mean, run.units.q)
        ratios = [] if units is None else [np.linalg.svd(np.linalg.solve(run.schedule.learned_units, units))[1]]
        if new is not None and run.schedule.frame is not None:
            ratios.append(np.asarray(new.normal.sd) / np.asarray(run.schedule.frame.normal.sd))
        return any(np.max(np.abs(np.log(ratio))) > np.log(FAR) for ratio in ratios)

    def go_on_from(self, mean: Params) -> None:
        """Go on from the member of the family nearest to these parameters' q, in a frame of its own."""
        run, frame = self.run, self.frame_at(mean)
        if frame is None:
            run.schedule.begin_anew(run.schedule.frame)
            self.start(jax.tree.map(jnp.asarray, mean), run.units.q)
            return
        run.schedule.begin_anew(frame)
        q = jax.tree.map(jnp.asarray, run.config.family.standard(jax.random.key(0), run.target))
        self.start(Params(q, jax.tree.map(jnp.asarray, mean.learned)), run.config.family.units(frame, run.target))

    def frame_at(self, params: Params) -> Frame | None:
        """Return the frame in which the member with these parameters is the standard one, if there is one."""
        run, family = self.run, self.run.config.family
        return None if run.units.q is None else family.frame(to_numpy(placed(params, run.units, family)))

    def of_steps(self, units: np.ndarray | None) -> Any:
        """Return the units of the steps of what is learned, given its units, in which its errors are."""
        run = self.run
        if units is None or run.config.optimizer is not None:  # taken as they are
            return ()
        own = len(jax.tree.leaves(run.target.free_parameters()))
        lengths = [np.shape(leaf)[0] for leaf in jax.tree.leaves(run.target.data)[own:] if np.ndim(leaf)]
        return np.sqrt(max(1, *lengths, 1)) * units

    def units_at(self, params: Params, units: Any) -> np.ndarray | None:
        """Return the units of what is learned, (k, k), in which the loss has a curvature of one.

        There are none where nothing is learned, or more than is looked at.
        """
        config, size = self.run.config, len(flat(params.learned))
        if not 0 < size <= MOST:
            return None
        probes = np.eye(size) if size <= FEW else np.random.default_rng(0).choice([-1.0, 1.0], (PROBES, size))
        fixed = config.family, config.objective
        found = np.asarray(curvatures(jax.random.key(0), params, Params(units), self.run.target, probes, *fixed))
        self.run.counter.gradient_evaluations += 2 * len(probes) * KEYS * config.objective.density_evaluations
        hessian = (found + found.T) / 2 if size <= FEW else np.diag((probes * found).mean(axis=0))
        if not self.has_settled:  # on the way to the maximum, directions that mix parameters lead astray
            hessian = np.diag(np.diag(hessian))
        values, vectors = np.linalg.eigh(np.nan_to_num(hessian))
        return vectors / np.sqrt(np.maximum(values, FLATTEST))

    def state(self) -> list:
        """Return what a checkpoint holds."""
        return [self.frames, self.chunks, self.has_settled]

    def restore(self, state: list) -> None:
        """Go on from such a state."""
        self.frames, self.chunks, self.has_settled = state

    def status(self, found: Status) -> Status:
        """Return a status with what was learned."""
        if not self.names:
            return found
        return dataclasses.replace(found, message=f"{found.message} {in_words(self.run.approximation.target.learned)}")


def in_words(learned: Mapping[str, Any]) -> str:
    """Say what a fit that has learned parameters is a fit of."""
    several = len(learned) > 1
    written = [f"{name} = {float(x):.3g}" if is_number(x) else name for name, x in learned.items()]
    return (
        f"Learned with q: {', '.join(written)}. q is of the posterior at {'these values' if several else 'this value'},"
        f" and says nothing of {'their' if several else 'its'} own uncertainty."
    )


def is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0


@compiled(static=("family", "objective"), unoptimized=True)
def curvatures(key, params: Params, units, target, probes, family, objective):
    """Return the loss's second derivatives in the parameters' free numbers, along each probe, (probes, k)."""
    start, unravel = ravel_pytree(params.learned)

    def gradient(learned, key):
        def loss(learned):
            return loss_at(key, params._replace(learned=unravel(learned)), units, target, family, objective)

        return jax.grad(loss)(learned)

    def along(probe, key):
        return (gradient(start + STEP * probe, key) - gradient(start - STEP * probe, key)) / (2 * STEP)

    keys = jax.random.split(key, KEYS)
    return jax.lax.map(lambda probe: jax.lax.map(lambda k: along(probe, k), keys).mean(axis=0), probes)
