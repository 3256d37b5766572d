"""Many fits on an executor: one task for each batch of targets."""

from typing import Any

from vi_kl.core.annotations import Progress
from vi_kl.core.executors import Interrupted, LostError, results_elsewhere
from vi_kl.core.progress import unheard


def fit_elsewhere(algorithm: Any, executor: Any, keys, targets: tuple, report: Progress, batch: int = 1) -> list:
    """Return what `algorithm.find_many(keys, targets, report)` does, computed by the workers of an executor.

    Args:
        algorithm: the Algorithm.
        executor: see `vi_kl.core.executors`.
        keys: one random key for each target.
        targets: the targets.
        report: told of each batch that is done.
        batch: the number of targets that a worker is sent together.

    Raises:
        Interrupted: Ctrl-C; `finished` holds {place of the target: Fit or error}.
    """
    starts = range(0, len(targets), batch)
    calls = [(algorithm, keys[start : start + batch], targets[start : start + batch]) for start in starts]
    done = 0

    def finished(place: int, number: int) -> None:
        nonlocal done
        done += len(calls[place][2])
        report(done / len(targets), f"{done} of {len(targets)} fits done")

    try:
        found = results_elsewhere(executor, fit_batch, calls, finished)
    except Interrupted as stop:
        fits = {starts[place] + i: fit for place, several in stop.finished.items() for i, fit in enumerate(several)}
        raise Interrupted(fits) from None
    fits = []
    for several, (_, _, batch_of_targets) in zip(found, calls, strict=True):
        fits += [several] * len(batch_of_targets) if isinstance(several, LostError) else several
    return fits


def fit_batch(algorithm: Any, keys, targets: tuple) -> list:
    return algorithm.find_many(keys, targets, unheard)
