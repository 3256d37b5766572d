"""Anchoring: the part of an SVI run that keeps the control variate of its minibatches (vi_kl.targets.anchored).

The anchor begins at the centre of the frame, a mode more often than not. It is moved to q's mean each time that the
step size has fallen to a quarter of what it was; a family without a frame, which may begin far away, has it moved after
1, 2, 4, 8, ... chunks as well.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.random_keys import numpy_generator
from vi_kl.objectives.elbo import ELBO
from vi_kl.targets.anchored import Anchor, anchor_at, can_be_anchored, with_anchor
from vi_kl.targets.streamed_minibatch import for_minibatches, streamed_anchor_at
from vi_kl.targets.target import Target

DRAWS = 8  # draws of q at which the noise is looked at
FALL = 0.25  # of the step size, after which the anchor is moved


def takes_anchor(config, target: Target) -> bool:
    """Return whether the minibatches of an SVI fit have a control variate."""
    return isinstance(config.objective, ELBO) and (target.density.is_streamed or can_be_anchored(target))


class Anchoring:
    """What an SVI run does about the noise of its minibatches; nothing where there are none.

    Attributes:
        target: the target as the steps see it.
        step_size: that at which the anchor was set.
        chunks: the number of chunks so far.
    """

    def __init__(self, run: Any):
        self.run, self.target = run, run.target
        self.is_used = takes_anchor(run.config, run.target)
        self.anchor = Anchor.nowhere(run.target.dim)
        self.step_size = np.inf
        self.chunks = 0
        if run.target.density.is_streamed and self.is_used:
            self.set(self.anchor)  # with or without a control variate, steps see minibatches only

    def begin(self, key) -> None:
        """Set the anchor at the frame's centre, if there is a frame."""
        if not self.is_used:
            return
        frame = self.run.schedule.frame
        if frame is None:
            self.set(self.anchor)
            return
        noise = np.random.default_rng(0).standard_normal((DRAWS, self.run.target.dim))
        self.move(np.asarray(frame.loc), frame.point(noise), key)

    def look(self, draws: np.ndarray, key) -> None:
        """Move the anchor to the mean of draws of q, if it is time."""
        if not self.is_used:
            return
        self.chunks += 1
        fell = abs(self.run.schedule.step_size) <= FALL * self.step_size
        early = self.run.schedule.frame is None and self.chunks & (self.chunks - 1) == 0
        if fell or early:
            self.move(draws.mean(axis=0), draws[:DRAWS], key)

    def move(self, z: np.ndarray, draws: np.ndarray, key) -> None:
        if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):  # a lane's, as data
            key = jax.random.wrap_key_data(jnp.asarray(key), impl=self.run.impl)
        self.step_size = abs(self.run.schedule.step_size)
        target, key = self.run.target, jax.random.fold_in(key, 2)
        if target.density.is_streamed:
            self.set(streamed_anchor_at(target, z, draws, numpy_generator(key)))
        else:
            self.set(anchor_at(target, z, draws, key))
        self.run.counter.gradient_evaluations += 1

    def set(self, anchor: Anchor) -> None:
        self.anchor = anchor
        target = self.run.target
        self.target = for_minibatches(target, anchor) if target.density.is_streamed else with_anchor(target, anchor)

    def state(self) -> list:
        """Return what a checkpoint holds."""
        return [*self.anchor, self.step_size, self.chunks]

    def restore(self, state: list) -> None:
        """Go on from such a state."""
        *anchor, self.step_size, self.chunks = state
        if self.is_used:
            self.set(Anchor(*map(np.asarray, anchor)))
