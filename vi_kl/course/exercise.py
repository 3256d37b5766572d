"""Exercise: a question, and a judge of answers to it, who says what is wrong and not what is right."""

import dataclasses
from collections.abc import Callable
from typing import Any

from vi_kl.core.records import Readable, store
from vi_kl.course.words import say


@dataclasses.dataclass(frozen=True, repr=False)
class Feedback(Readable):
    """What is said of an answer; true where the answer is right.

    Attributes:
        right: whether it is right.
        words: why it is wrong, or what a right one shows, in words.
        verdict: "Right." or "Not yet.", in the language of the words.
    """

    right: bool
    words: str
    verdict: str = dataclasses.field(init=False)

    def __post_init__(self):
        store(self, verdict=say("Right." if self.right else "Not yet."))

    def __bool__(self):
        return self.right

    @property
    def headline(self) -> str:
        """The verdict, and the words."""
        return str(self)

    def __repr__(self):
        return str(self)

    def __str__(self):
        space = " " if self.verdict.isascii() else ""  # Chinese sentences have none between them
        return f"{self.verdict}{space}{self.words}".rstrip()


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A question of the course.

    Attributes:
        name: its name, the lesson's and a number: "kl-1".
        question: the question, in words.
        judge: the function that an answer is given to, and that returns its Feedback.
    """

    name: str
    question: str
    judge: Callable[[Any], Feedback]


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A lesson of the course.

    Attributes:
        title: its title.
        page: the page of the documentation to read, by its path.
        goals: what somebody can do after it, a phrase each.
        exercises: its exercises.
    """

    title: str
    page: str
    goals: tuple[str, ...]
    exercises: tuple[Exercise, ...]
