"""The languages that words can be in, and the one that is spoken in a context.

A sentence is written in English where it is said, with fields in braces for figures; a part that speaks Chinese too
has a table from its sentences to the same in Chinese, with the same fields.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping

LANGUAGES = ("en", "zh")
LANGUAGE: contextvars.ContextVar[str] = contextvars.ContextVar("language that is spoken", default="en")


def check_language(language: str) -> None:
    """Refuse a language that there are no words for.

    Raises:
        ValueError: the message names those that there are.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, not {language!r}.")


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language, "en" or "zh", within a context.

    Raises:
        ValueError: another language.
    """
    check_language(language)
    token = LANGUAGE.set(language)
    try:
        yield
    finally:
        LANGUAGE.reset(token)


def in_context(sentence: str, chinese: Mapping[str, str], figures: Mapping[str, object] = {}) -> str:
    """Return a sentence in the language of the context, with figures in its fields.

    Args:
        sentence: the sentence in English.
        chinese: the table of the part that says it.
        figures: what its fields are filled with.
    """
    found = chinese[sentence] if LANGUAGE.get() == "zh" else sentence
    return found.format(**figures) if figures else found


class Sentence(str):
    """A sentence in English that a record keeps, with what it takes to say it in another language.

    Attributes:
        pattern: the sentence with its fields.
        figures: what the fields are filled with.
    """

    pattern: str
    figures: Mapping[str, object]

    @classmethod
    def of(cls, pattern: str, /, **figures: object) -> "Sentence":
        """Return a sentence with figures in its fields; those that are words are said in English."""
        with speaking("en"):
            made = cls(pattern.format(**figures))
        made.pattern, made.figures = pattern, figures
        return made
