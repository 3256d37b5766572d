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
from vi_kl.course.words import say
from vi_kl.divergences import kl_divergence

Judge = Callable[[Any], Feedback]
CLOSE = 0.01  # relative to the right number: three digits are enough
NEGLIGIBLE = 1e-4  # nats between a distribution and the right one


def right_by(because: str) -> Feedback:
    """Return what is said of a right answer, in the language of the context."""
    return Feedback(True, say(because))


def wrong(words: str, **figures) -> Feedback:
    """Return what is said of a wrong answer, in the language of the context, with figures in its fields."""
    return Feedback(False, say(words, **figures))


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
            return wrong("A number is asked for, and this is of type {kind}.", kind=type(answer).__name__)
        if np.ndim(answer) or not np.isfinite(float(answer)):
            return wrong("One finite number is asked for.")
        value, exact = float(answer), float(right())
        if agrees(value, exact, close):
            return right_by(because)
        for words, slip in slips.items():
            if agrees(value, slip(exact), close):
                return wrong(words)
        if agrees(value, -exact, close):
            return wrong("Its size is right, its sign is not.")
        return wrong("It is too large." if value > exact else "It is too small.")

    return judge


def agrees(value: float, other: float, close: float) -> bool:
    return abs(value - other) <= close * max(abs(other), 1e-12)


def choice(right: str, because: str, others: Mapping[str, str]) -> Judge:
    """Return the judge of a choice among words; `others` has what is said of each wrong one."""

    def judge(answer) -> Feedback:
        chosen = answer.strip().lower() if isinstance(answer, str) else answer
        if chosen == right:
            return right_by(because)
        if chosen in others:
            return wrong(others[chosen])
        options = ", ".join(f'"{each}"' for each in sorted([right, *others]))
        return wrong("Choose one of {options}.", options=options)

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
            return wrong("A list of {size} probabilities is asked for.", size=len(exact))
        if given.shape != exact.shape:
            found = {"size": len(exact), "shape": given.shape}
            return wrong("{size} probabilities are asked for, and this has the shape {shape}.", **found)
        if not np.all(given >= 0):
            return wrong("A probability is never negative.")
        if np.allclose(given, exact, rtol=CLOSE):
            return right_by(because)
        for words, slip in slips.items():
            if np.allclose(given, slip, rtol=CLOSE):
                return wrong(words)
        if abs(given.sum() - 1) > CLOSE:
            return wrong("They add up to {total}, and probabilities add up to 1.", total=f"{given.sum():.3g}")
        places = ", ".join(str(i) for i in np.flatnonzero(~np.isclose(given, exact, rtol=CLOSE)))
        return wrong("They add up to 1, but those at the places {places} (from 0 on) are wrong.", places=places)

    return judge


def distribution(truth: Callable[[], dist.Distribution], because: str, slips: Mapping[str, Callable] = {}) -> Judge:
    """Return the judge of a NumPyro distribution: it is right where its KL from the right one is next to nothing."""

    @in_float64
    def judge(answer) -> Feedback:
        exact = truth()
        if not isinstance(answer, type(exact)):
            kinds = {"kind": type(exact).__name__, "other": type(answer).__name__}
            return wrong("A numpyro.distributions.{kind} is asked for, not a {other}.", **kinds)
        if answer.batch_shape or answer.event_shape != exact.event_shape:
            return wrong("One distribution of one number is asked for.")
        if float(kl_divergence(exact, answer)) < NEGLIGIBLE:
            return right_by(because)
        for words, slip in slips.items():
            if float(kl_divergence(slip(), answer)) < NEGLIGIBLE:
                return wrong(words)
        mean, variance = (
            agrees(float(getattr(answer, what)), float(getattr(exact, what)), CLOSE) for what in ("mean", "variance")
        )
        if not (mean or variance):
            return wrong("Its mean and its variance are not right.")
        return wrong("Its mean is not right." if variance else "Its variance is not right.")

    return judge
