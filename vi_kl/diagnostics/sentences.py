"""The words of certificates in the language that is spoken: `say` returns a sentence, English unless it is Chinese.

Sentences are written in English where they are said (verdict.py, advice.py), and chinese.py has each in Chinese.
"""

from vi_kl.core.languages import LANGUAGE, in_context
from vi_kl.diagnostics.chinese import CHINESE


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)


def name_of(entry: str) -> str:
    """Return what is measured in the language of the context; names of sites are the same in all."""
    return say(entry) if entry in CHINESE else entry


def in_a_row(*said: str) -> str:
    """Return sentences in a row, empty ones left out; Chinese ones have no space between them."""
    return ("" if LANGUAGE.get() == "zh" else " ").join(filter(None, said))


def listed(words: list[str]) -> str:
    """Return parts of a sentence, which may have commas of their own, in a row."""
    if LANGUAGE.get() == "zh":
        return "；".join(words)
    return "; ".join(words[:-1]) + ("; and " if words[1:] else "") + words[-1]
