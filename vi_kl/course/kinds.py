"""Kinds of answers: each function makes the judge of one kind.

The right answer is given as a function, and computed when the first answer comes: importing the course computes
nothing. Slips are wrong answers that people come to by a mistake that has a name, and what is said of each.
"""

import functools
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpyro.distributions as dist

from vi_kl.core.precision import in_float64
from vi_kl.course.exercise import Feedback
from vi_kl.divergences import kl_divergence

Judge = Callable[[Any], Feedback]
CLOSE = 0.01  # relative to the right number: three digits are enough
NEGLIGIBLE = 1e-4  # nats between a distribution and the right one


def number(
    truth: Callable[[], float],
    because: str,
    slips: Mapping[str, Callable[[float], float]] = {},
    *,
    close: float = CLOSE,
) -> Judge:
    """Return the judge of a number.

    Args:
        truth: the function that computes the right one.
        because: what is said of a right answer.
        slips: functions from the right number to a wrong one, by what is said of it.
        close: the relative difference that is allowed.
    """
    right = functools.cache(in_float64(truth))

    def judge(answer) -> Feedback:
        if isinstance(answer, bool) or (
            not isinstance(answer, numbers.Real | np.ndarray) and not hasattr(answer, "ndim")
        ):
            return Feedback(False, f"A number is asked for, and this is of type {type(answer).__name__}.")
        if np.ndim(answer) or not np.isfinite(float(answer)):
            return Feedback(False, "One finite number is asked for.")
        value, exact = float(answer), float(right())
        if agrees(value, exact, close):
            return Feedback(True, because)
        for words, slip in slips.items():
            if agrees(value, slip(exact), close):
                return Feedback(False, words)
        if agrees(value, -exact, close):
            return Feedback(False, "Its size is right, its sign is not.")
        return Feedback(False, f"It is too {'large' if value > exact else 'small'}.")

    return judge


def agrees(value: float, other: float, close: float) -> bool:
    return abs(value - other) <= close * max(abs(other), 1e-12)


def choice(right: str, because: str, others: Mapping[str, str]) -> Judge:
    """Return the judge of a choice among words; `others` has what is said of each wrong one."""

    def judge(answer) -> Feedback:
        chosen = answer.strip().lower() if isinstance(answer, str) else answer
        if chosen == right:
            return Feedback(True, because)
        if chosen in others:
            return Feedback(False, others[chosen])
        options = ", ".join(f'"{each}"' for each in sorted([right, *others]))
        return Feedback(False, f"Choose one of {options}.")

    return judge


def probabilities(
    truth: Callable[[], Sequence[float]], because: str, slips: Mapping[str, Sequence[float]] = {}
) -> Judge:
    """Return the judge of the probabilities of a few possibilities, in order."""

    def judge(answer) -> Feedback:
        exact = np.asarray(truth(), float)
        try:
            given = np.asarray(answer, float)
        except (TypeError, ValueError):
            return Feedback(False, f"A list of {len(exact)} probabilities is asked for.")
        if given.shape != exact.shape:
            return Feedback(False, f"{len(exact)} probabilities are asked for, and this has the shape {given.shape}.")
        if not np.all(given >= 0):
            return Feedback(False, "A probability is never negative.")
        if np.allclose(given, exact, rtol=CLOSE):
            return Feedback(True, because)
        for words, slip in slips.items():
            if np.allclose(given, slip, rtol=CLOSE):
                return Feedback(False, words)
        if abs(given.sum() - 1) > CLOSE:
            return Feedback(False, f"They add up to {given.sum():.3g}, and probabilities add up to 1.")
        wrong = [str(i) for i in np.flatnonzero(~np.isclose(given, exact, rtol=CLOSE))]
        return Feedback(False, f"They add up to 1, but those at the places {', '.join(wrong)} (from 0 on) are wrong.")

    return judge


def distribution(truth: Callable[[], dist.Distribution], because: str, slips: Mapping[str, Callable] = {}) -> Judge:
    """Return the judge of a NumPyro distribution: it is right where its KL from the right one is next to nothing."""

    @in_float64
    def judge(answer) -> Feedback:
        exact = truth()
        if not isinstance(answer, type(exact)):
            kind = type(exact).__name__
            return Feedback(False, f"A numpyro.distributions.{kind} is asked for, not a {type(answer).__name__}.")
        if answer.batch_shape or answer.event_shape != exact.event_shape:
            return Feedback(False, "One distribution of one number is asked for.")
        if float(kl_divergence(exact, answer)) < NEGLIGIBLE:
            return Feedback(True, because)
        for words, slip in slips.items():
            if float(kl_divergence(slip(), answer)) < NEGLIGIBLE:
                return Feedback(False, words)
        parts = [
            what
            for what in ("mean", "variance")
            if not agrees(float(getattr(answer, what)), float(getattr(exact, what)), CLOSE)
        ]
        return Feedback(False, f"Its {' and its '.join(parts)} {'is' if len(parts) == 1 else 'are'} not right.")

    return judge
