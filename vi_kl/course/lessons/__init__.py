"""The eight lessons, in order, one file each; and `check`, which hands an answer to its exercise."""

import difflib
import functools
from typing import Any

from vi_kl.core.errors import ViKLError
from vi_kl.course.exercise import Exercise, Feedback, Lesson
from vi_kl.course.lessons import certificate, directions, disagree, elbo, kl, many, monte, vae

__all__ = ["UnknownExercise", "check", "lessons", "question"]


class UnknownExercise(ViKLError, ValueError):
    """An error: there is no exercise of that name; the message says which names come near."""


def lessons() -> tuple[Lesson, ...]:
    """Return the lessons of the course, in order."""
    return tuple(part.LESSON for part in (kl, elbo, many, directions, monte, disagree, certificate, vae))


@functools.cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises, by name."""
    return {exercise.name: exercise for lesson in lessons() for exercise in lesson.exercises}


def exercise_of(name: str) -> Exercise:
    """Return an exercise.

    Raises:
        UnknownExercise: there is none of that name.
    """
    known = exercises()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, 3) or list(known)
        raise UnknownExercise(f"There is no exercise {name!r}. There are: {', '.join(near)}.")
    return known[name]


def question(name: str) -> str:
    """Return the question of an exercise, in words.

    Raises:
        UnknownExercise: there is none of that name.
    """
    return exercise_of(name).question


def check(name: str, answer: Any) -> Feedback:
    """Check an answer, and say what is wrong with it, without giving the right one away.

    Args:
        name: the name of the exercise, such as "kl-1".
        answer: a number, a word, a list of probabilities or a NumPyro distribution, as the question asks.

    Raises:
        UnknownExercise: there is no exercise of that name.
    """
    return exercise_of(name).judge(answer)
