"""The story's words in the language it is told in: `say` returns a sentence, English unless `speaking` set another.

A sentence is written in English where it is said, with fields in braces for figures, and chinese.py has it in Chinese.
What certificates say, and the columns of tables of fits, are vi_kl's own words, and English in both.
"""

import contextlib
import contextvars
from collections.abc import Iterator

from vi_kl.demo.worms.chinese import CHINESE
from vi_kl.report.figures.languages import check_language

LANGUAGE: contextvars.ContextVar[str] = contextvars.ContextVar("language of the story", default="en")


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Tell the story in a language, "en" or "zh", within a context.

    Raises:
        ValueError: another language.
    """
    check_language(language)
    token = LANGUAGE.set(language)
    try:
        yield
    finally:
        LANGUAGE.reset(token)


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    found = CHINESE[sentence] if LANGUAGE.get() == "zh" else sentence
    return found.format(**figures)
