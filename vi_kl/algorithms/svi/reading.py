"""Reading: the part of an SVI run that gets the rows of its steps from a source, for a target with `rows=...`.

One pass over the source picks out the minibatches of as many chunks of steps as a bounded memory holds
(`vi_kl.targets.streamed_minibatch`). The rows of a chunk depend on the key and on the chunk's number alone, so that a
run that goes on from a checkpoint sees those that it would have seen.
"""

from typing import Any

import jax
import numpy as np

from vi_kl.objectives.elbo import ELBO
from vi_kl.objectives.objective import ObjectiveError
from vi_kl.targets.streamed_minibatch import batch_size, draw_numbers, read_minibatches
from vi_kl.targets.target import Target

HELD_BYTES = 2**25  # of the minibatches that a pass picks out, about; those of one chunk are held in any case


def require_linear(config, target: Target) -> None:
    """Refuse an objective that minibatches cannot estimate, for rows that are read in blocks.

    Raises:
        ObjectiveError: it is another than the ELBO.
    """
    if target.density.is_streamed and not isinstance(config.objective, ELBO):
        raise ObjectiveError(
            f"{type(config.objective).__name__} needs all rows at each step, and '{target.density}' reads them in "
            f"blocks (rows=...). Of minibatches only the ELBO can be estimated without bias: use objective=ELBO(), or "
            f"pass the rows as arrays."
        )


class Reading:
    """What an SVI run does about rows that are read from a source; nothing where they are in memory.

    Attributes:
        rows: the minibatches of the chunk to come, a `Drawn`, or () where there is nothing to read.
        seed: the numbers that seed what draws them.
        chunk: the number of that chunk.
    """

    def __init__(self, run: Any):
        self.run = run
        self.is_used = run.target.density.is_streamed
        self.rows: Any = ()
        self.seed, self.chunk = np.zeros(0, int), 0
        self.held: list = []  # the minibatches of the chunks after it

    def begin(self, key) -> None:
        """Let the rows be drawn by this key."""
        if self.is_used:
            self.seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, 3)), int)

    def read(self) -> None:
        """Take the minibatches of the chunk to come, by a pass over the source where none are held."""
        if not self.is_used:
            return
        if not self.held:
            self.held = self.one_pass()
        self.rows = self.held.pop()
        self.chunk += 1

    def one_pass(self) -> list:
        """Return the minibatches of the chunks to come, the last first."""
        run, length = self.run, self.run.config.chunk
        left = -(-(run.config.max_steps - run.schedule.steps) // length)
        of_chunk = length * batch_size(run.target) * run.target.density.blocks.row_bytes
        number = max(1, min(left, HELD_BYTES // of_chunk))
        found = read_minibatches(run.target, np.concatenate([self.numbers(self.chunk + i) for i in range(number)]))
        parts = [slice(i * length, (i + 1) * length) for i in range(number)]
        return [jax.tree.map(lambda x: x[part], found) for part in reversed(parts)]  # noqa: B023

    def numbers(self, chunk: int) -> np.ndarray:
        """Return the numbers of the rows of a chunk's minibatches, (steps, batch)."""
        return draw_numbers(self.run.target, np.random.default_rng([*self.seed, chunk]), self.run.config.chunk)

    def state(self) -> list:
        """Return what a checkpoint holds."""
        return [self.seed, self.chunk]

    def restore(self, state: list) -> None:
        """Go on from such a state."""
        self.seed, self.chunk = state
        self.held = []
