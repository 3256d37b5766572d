"""The course's words in the language it is held in: `say` returns a sentence, English unless `speaking` set another."""

from vi_kl.core.languages import in_context
from vi_kl.course.chinese import CHINESE


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)
