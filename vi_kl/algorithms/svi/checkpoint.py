"""Checkpoints: the state of an SVI fit in a file, from which a fit that was killed goes on.

The file is replaced whole, between chunks of steps, so that after a kill at any moment the last or the last but one is
there. It says which fit it belongs to: the target's fingerprint, the configuration, the key and the start. It stays
when the fit is done, so that running the same program again returns the same answer at once.
"""

import hashlib
import json
import time
import types
import warnings

import jax
import numpy as np

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.svi.run import Run, optimizer_of
from vi_kl.algorithms.svi.schedule import Answer, Batch
from vi_kl.algorithms.svi.step import Params, State
from vi_kl.core import serialization
from vi_kl.core.errors import ViKLError
from vi_kl.core.files import place_of
from vi_kl.core.serialization import Archive, ArchiveError
from vi_kl.targets.fingerprint import differences, fingerprint

FORMAT = 5
CLASSES = {kind.__qualname__: kind for kind in (Answer, Batch, Params, State)}
MAY_DIFFER = ("max_steps", "keep_path")  # they only say when to stop, and what to keep


class CheckpointError(ViKLError, ValueError):
    """An error about a checkpoint that is damaged or of another fit; the message says what differs and what to do."""


class NoCheckpoint:
    """A checkpoint that does nothing, for fits without one."""

    def resume(self) -> bool:
        return False

    def note(self) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class Checkpoint:
    """A file that holds the state of one run: `with checkpoint: ...; checkpoint.note()` after each chunk.

    The state noted last is written when the block is left, also by an interruption (Ctrl-C).
    """

    @classmethod
    def of(cls, run: Run, start, path, seconds: float) -> "Checkpoint | NoCheckpoint":
        """Return a checkpoint for a path, or one that does nothing if the path is None."""
        return NoCheckpoint() if path is None else cls(run, start, path, seconds)

    def __init__(self, run: Run, start, path, seconds: float):
        self.run, self.seconds = run, seconds
        try:
            self.path = place_of(path)
        except OSError as error:
            raise CheckpointError(f"No checkpoint can be kept: {error}") from None
        self.owner = {
            "format": FORMAT,
            "target": fingerprint(run.target),
            "config": {name: described(value) for name, value in serialization.fields_of(run.config).items()},
            "key": described(run.key),
            "start": described(start),
        }
        self.began = self.written = time.monotonic()
        self.before = CostCounter()  # what earlier runs of this fit have cost
        self.noted: dict | None = None
        self.failed = False  # whether a write has failed, which is said once

    def resume(self) -> bool:
        """Restore the run to the state in the file; return False if there is no file."""
        if not self.path.exists():
            return False
        try:
            stored = Archive(self.path)
            self.refuse_another_fit(stored)
            self.restore(stored.get("run", CLASSES), stored.get("cost"))
        except CheckpointError:
            raise
        except ArchiveError as error:
            raise CheckpointError(f"{error} Delete it to begin again.") from None
        except Exception as error:  # of any type that comes of values that are not what a checkpoint holds
            raise CheckpointError(f"{self.path} is damaged ({error}). Delete it to begin again.") from None
        return True

    def restore(self, state: dict, cost: dict) -> None:
        """Put the run where a stored state says it was."""
        run, config = self.run, self.run.config
        self.before = CostCounter(**cost)
        run.key, run.units, run.schedule.frame = state["key"], state["units"], state["frame"]
        like = jax.eval_shape(optimizer_of(config).init, state["params"])
        optimizer = jax.tree.unflatten(jax.tree.structure(like), state["optimizer"])
        if [np.shape(leaf) for leaf in jax.tree.leaves(optimizer)] != [leaf.shape for leaf in jax.tree.leaves(like)]:
            raise ValueError("the optimiser's state is not of the shape of the parameters")
        config.family.require_params(config.family.placed(state["params"].q, run.units.q), run.target)
        run.state = State(state["params"], optimizer, state["step"], np.asarray(-1))
        run.losses, run.step_sizes = [state["losses"]], [state["step_sizes"]]
        run.schedule.restore(state["schedule"])
        run.setbacks, run.setbacks_in_all = state["setbacks"]
        run.learning.restore(state["learning"])
        run.anchoring.restore(state["anchoring"])
        run.reading.restore(state["reading"])
        for name, value in vars(self.before).items():
            setattr(run.counter, name, getattr(run.counter, name) + value)

    def refuse_another_fit(self, stored: Archive) -> None:
        """Raise an error if the file is of another fit; the message says what differs."""
        if stored.get("format") != FORMAT or "run" not in stored.words:
            raise CheckpointError(
                f"{self.path} is not a checkpoint of this version of vi_kl; delete it to begin again."
            )
        old, new = {name: stored.get(name) for name in self.owner}, self.owner
        different = [
            f"{name} was {in_words(old['config'].get(name))} and is {in_words(new['config'].get(name))}"
            for name in sorted(old["config"].keys() | new["config"].keys())
            if old["config"].get(name) != new["config"].get(name) and name not in MAY_DIFFER
        ]
        different += [f"the {name} is another" for name in ("key", "start") if old[name] != new[name]]
        different += differences(old["target"], new["target"])
        if different:
            raise CheckpointError(
                f"{self.path} is the checkpoint of another fit: {'; '.join(different)}. Give this fit another path, "
                "or delete the file to begin again."
            )

    def note(self) -> None:
        """Take the run's present state as the one to write, and write it if it is time."""
        run, now = self.run, time.monotonic()
        self.noted = {
            "key": run.key,
            "units": run.units,
            "frame": run.schedule.frame,
            "params": run.state.params,
            "optimizer": jax.tree.leaves(run.state.optimizer),
            "step": run.state.step,
            "losses": list(run.losses),
            "step_sizes": list(run.step_sizes),
            "schedule": run.schedule.state(),
            "setbacks": [run.setbacks, run.setbacks_in_all],
            "learning": run.learning.state(),
            "anchoring": run.anchoring.state(),
            "reading": run.reading.state(),
        }
        if now - self.written >= self.seconds:
            self.write()

    def write(self) -> None:
        """Write the state noted last; a disk that is full or cannot be written to costs no more than the file."""
        if self.noted is None:
            return
        try:
            self.write_noted()
        except OSError as error:
            if not self.failed:
                warnings.warn(f"The checkpoint could not be written, and the fit goes on: {error}.", stacklevel=2)
            self.failed, self.written = True, time.monotonic()

    def write_noted(self) -> None:
        joined = {name: np.concatenate([np.empty(0), *self.noted[name]]) for name in ("losses", "step_sizes")}
        cost = {
            "gradient_evaluations": self.run.counter.gradient_evaluations,
            "density_evaluations": self.run.counter.density_evaluations,
            "compile_seconds": self.run.counter.compile_seconds,
            "wall_seconds": self.before.wall_seconds + time.monotonic() - self.began,
        }
        serialization.write(self.path, {**self.owner, "cost": cost, "run": {**self.noted, **joined}})
        self.noted, self.written = None, time.monotonic()

    def __enter__(self):
        self.note()
        return self

    def __exit__(self, *exception):
        self.write()


def in_words(description) -> str:
    """Return the description of a field, as far as it is readable."""
    return str(description)[:80] if isinstance(description, int | float | str | None) else "something else"


def described(value):
    """Return plain values that are equal if two values are; code is described by its name and what it holds."""
    arrays: dict[str, np.ndarray] = {}
    words = serialization.encode(value, "", arrays, describe_code)
    if not arrays and not isinstance(words, dict):
        return words
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return f"{json.dumps(words)} {digest.hexdigest()}"


def describe_code(value, where: str):
    """Describe a function by its name and the values it closes over, and any other object by its class."""
    if isinstance(value, types.FunctionType):
        held = []
        for cell in value.__closure__ or ():
            try:
                held.append(described(cell.cell_contents))
            except ValueError:  # a name that has no value yet
                held.append(None)
        return {"function": f"{value.__module__}.{value.__qualname__}", "holds": held}
    q = getattr(value, "approximation", value)
    if hasattr(q, "family") and hasattr(q, "params"):
        return {"approximation": described((q.family, q.params))}
    return {"object": f"{type(value).__module__}.{type(value).__qualname__}"}
