"""A course of eight lessons: exercises whose answers are checked.

`lessons()` lists the lessons, each with what it teaches and the page to read (docs: a course). `question("kl-1")` is
one exercise in words, and `check("kl-1", answer)` says whether an answer is right, and if not, what is wrong with it.
It does not say what the right one is: the page has the solutions. With `lang="zh"` all of them speak Chinese.

    exercise   an exercise, and what `check` says
    kinds      kinds of answers: a number, a choice, probabilities, a distribution
    words      what they say in the language that is spoken
    chinese    the same in Chinese
    lessons/   one file for each lesson
"""

from vi_kl.course.exercise import Exercise, Feedback, Lesson
from vi_kl.course.lessons import check, lessons, question

__all__ = ["Exercise", "Feedback", "Lesson", "check", "lessons", "question"]
