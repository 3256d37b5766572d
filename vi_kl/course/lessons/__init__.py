"""The eight lessons, in order, one file each; and `check`, which hands an answer to its exercise."""

import dataclasses
import difflib
import functools
from typing import Any

from vi_kl.core.errors import ViKLError
from vi_kl.core.languages import speaking
from vi_kl.course.exercise import Exercise, Feedback, Lesson
from vi_kl.course.lessons import certificate, directions, disagree, elbo, kl, many, monte, vae
from vi_kl.course.words import say

__all__ = ["UnknownExercise", "check", "lessons", "question"]


LESSONS = tuple(part.LESSON for part in (kl, elbo, many, directions, monte, disagree, certificate, vae))


class UnknownExercise(ViKLError, ValueError):
    """An error: there is no exercise of that name; the message says which names come near."""


def lessons(lang: str = "en") -> tuple[Lesson, ...]:
    """Return the lessons of the course, in order.

    Args:
        lang: "en", or "zh" for their words in Chinese.

    Raises:
        ValueError: another language.
    """
    with speaking(lang):
        return tuple(map(spoken, LESSONS))


def spoken(lesson: Lesson) -> Lesson:
    """Return a lesson with its words in the language of the context."""
    exercises = tuple(dataclasses.replace(each, question=say(each.question)) for each in lesson.exercises)
    goals = tuple(map(say, lesson.goals))
    return dataclasses.replace(lesson, title=say(lesson.title), goals=goals, exercises=exercises)


@functools.cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises, by name."""
    return {exercise.name: exercise for lesson in LESSONS for exercise in lesson.exercises}


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


def question(name: str, lang: str = "en") -> str:
    """Return the question of an exercise, in words.

    Args:
        name: the name of the exercise, such as "kl-1".
        lang: "en", or "zh" for Chinese.

    Raises:
        UnknownExercise: there is none of that name.
        ValueError: another language.
    """
    with speaking(lang):
        return say(exercise_of(name).question)


def check(name: str, answer: Any, lang: str = "en") -> Feedback:
    """Check an answer, and say what is wrong with it, without giving the right one away.

    Args:
        name: the name of the exercise, such as "kl-1".
        answer: a number, a word, a list of probabilities or a NumPyro distribution, as the question asks.
        lang: "en", or "zh" for words in Chinese.

    Raises:
        UnknownExercise: there is no exercise of that name.
        ValueError: another language.
    """
    with speaking(lang):
        return exercise_of(name).judge(answer)
