"""Learning: the part of an SVI run that has to do with the model's parameters, which are learned along with q.

The loss is -ELBO of q and of the posterior at the parameters, and it falls in both: where q is the exact posterior it
is -log evidence, and the parameters are those of largest evidence (maximum marginal likelihood, empirical Bayes). Else
they are of the largest lower bound (variational expectation maximisation).

Parameters have no posterior sd to measure their errors by. The unit of each is the change that costs about half a nat
with q as it is: one over the root of the loss's second derivative. It shrinks with the root of the number of rows, and
the way from where a parameter begins does not: so its steps are in units of what a single row could tell of it. As
parameters move, so do these units, and so does the posterior. So now and then a run that learns looks at both, and
where a scale has left that of the frame or of a unit, it goes on in new ones, from the first step size.

References: Neal & Hinton (1998), "A view of the EM algorithm that justifies incremental, sparse, and other variants";
Bekas, Kokiopoulou & Saad (2007), "An estimator for the diagonal of a matrix".
"""

import dataclasses
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
PROBES = 8  # directions along which second derivatives are taken
KEYS = 16  # evaluations of the loss over which they are averaged
STEP = 1e-3  # of the differences between gradients
FLATTEST = 1e-2  # the least second derivative that is assumed
FAR = 2.0  # the ratio of two scales beyond which a run goes on in the new one
MOST_FRAMES = 12  # frames of one run


class Learning:
    """What an SVI run does about the model's parameters; nothing if there is none to learn.

    Attributes:
        run: the run.
        names: the names of the parameters to learn.
    """

    def __init__(self, run: Any):
        self.run = run
        density = run.target.density
        self.names: tuple[str, ...] = () if density.is_learned else density.learnable
        self.frames = self.chunks = 0

    def begin(self, q: Any, units: Any) -> None:
        """Let the run start from these parameters of q and their units, and the model's parameters as they are."""
        self.start(Params(q, self.run.target.free_parameters() if self.names else ()), units)

    def start(self, params: Params, units: Any) -> None:
        """Let the run go on from these parameters."""
        run = self.run
        self.frames += 1
        found = self.units_at(params, units)
        run.schedule.learned_units = None if self.are_many(params) else flat(found)
        run.units = run.as_kept(Params(units, self.of_steps(found)))
        run.state = run.as_kept(first_state(params, run.optimizer))

    def look(self, mean: Params, was_cut: bool) -> None:
        """Look at the frame and the units, after a cut of the step size, and at first after 1, 2, 4, 8, ... chunks.

        Args:
            mean: the mean of the iterates of the last chunk.
            was_cut: whether the step size was cut after it.
        """
        self.chunks += 1
        if not self.names or self.frames >= MOST_FRAMES or self.run.config.decay != "cut":
            return
        is_turn = was_cut or self.chunks & (self.chunks - 1) == 0
        if is_turn and self.has_left(mean):
            self.go_on_from(mean)

    def has_left(self, mean: Params) -> bool:
        """Return whether a scale of q, or a unit of what is learned, is far from that in which the run is written."""
        run = self.run
        new, units = self.frame_at(mean), self.units_at(mean, run.units.q)
        pairs = [(flat(self.of_steps(units)), flat(run.units.learned))]
        if new is not None and run.schedule.frame is not None:
            pairs.append((np.asarray(new.normal.sd), np.asarray(run.schedule.frame.normal.sd)))
        return any(np.max(np.abs(np.log(a / b)), initial=0.0) > np.log(FAR) for a, b in pairs)

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

    def are_many(self, params: Params) -> bool:
        """Return whether so many numbers are learned that units of them are not looked for; or none at all."""
        return not 0 < len(flat(params.learned)) <= MOST

    def of_steps(self, units: Any) -> Any:
        """Return the units of the steps of what is learned, given its units, in which its errors are."""
        run, own = self.run, len(jax.tree.leaves(units))
        if run.config.optimizer is not None or own == 0 or len(flat(units)) > MOST:  # taken as they are
            return jax.tree.map(lambda x: np.ones(np.shape(x)), units)
        lengths = [np.shape(leaf)[0] for leaf in jax.tree.leaves(run.target.data)[own:] if np.ndim(leaf)]
        return jax.tree.map(lambda unit: np.sqrt(max(1, *lengths, 1)) * unit, units)

    def units_at(self, params: Params, units: Any) -> Any:
        """Return the units of what is learned, a pytree: those in which the loss has a curvature of one."""
        config, size = self.run.config, len(flat(params.learned))
        if self.are_many(params):
            return jax.tree.map(lambda x: np.ones(np.shape(x)), params.learned)
        probes = np.eye(size) if size <= PROBES else np.random.default_rng(0).choice([-1.0, 1.0], (PROBES, size))
        fixed = config.family, config.objective
        found = curvatures(jax.random.key(0), params, Params(units, ()), self.run.target, probes, *fixed)
        self.run.counter.gradient_evaluations += 2 * len(probes) * KEYS * config.objective.density_evaluations
        curvature = np.maximum(np.nan_to_num(np.asarray(found)), FLATTEST)
        return ravel_pytree(to_numpy(params.learned))[1](1 / np.sqrt(curvature))

    def status(self, found: Status) -> Status:
        """Return a status with what was learned."""
        if not self.names:
            return found
        return dataclasses.replace(found, message=f"{found.message} {learned_in_words(self.names)}")


def learned_in_words(names: tuple[str, ...]) -> str:
    """Say what a fit that has learned parameters is a fit of."""
    several = len(names) > 1
    return (
        f"The parameter{'s' if several else ''} {', '.join(names)} {'were' if several else 'was'} learned with q: q is "
        f"of the posterior at {'their values' if several else 'its value'}, and says nothing of "
        f"{'their' if several else 'its'} own uncertainty."
    )


@compiled(static=("family", "objective"), unoptimized=True)
def curvatures(key, params: Params, units, target, probes, family, objective):
    """Return an estimate of the second derivative of the loss in each free number of the parameters, (k,)."""
    start, unravel = ravel_pytree(params.learned)

    def gradient(learned, key):
        def loss(learned):
            return loss_at(key, params._replace(learned=unravel(learned)), units, target, family, objective)

        return jax.grad(loss)(learned)

    def along(probe, key):
        difference = gradient(start + STEP * probe, key) - gradient(start - STEP * probe, key)
        return probe * difference / (2 * STEP)

    keys = jax.random.split(key, KEYS)
    # the probes are the coordinates themselves, or random signs, of which each sees all coordinates
    each = jax.lax.map(lambda probe: jax.lax.map(lambda k: along(probe, k), keys).mean(axis=0), probes)
    return each.sum(axis=0) / jnp.sum(probes**2, axis=0)
