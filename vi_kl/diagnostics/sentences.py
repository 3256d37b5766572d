"""The words of certificates in the language that is spoken: `say` returns a sentence, English unless it is Chinese.

Sentences are written in English where they are said (verdict.py, advice.py, gap.py), and chinese.py has each in
Chinese. What contradicts is said before anybody asks for a language, and `say_again` says it in that one.
"""

from unicodedata import east_asian_width

from vi_kl.core.estimate import Estimate
from vi_kl.core.languages import LANGUAGE, Sentence, in_context
from vi_kl.diagnostics.chinese import CHINESE
from vi_kl.diagnostics.figures_in_chinese import in_figures


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)


def say_again(sentence: str) -> str:
    """Return what was said in English in the language of the context; what has no Chinese remains English."""
    if not isinstance(sentence, Sentence) or LANGUAGE.get() == "en":
        return str(sentence)
    figures = {name: name_of(x) if isinstance(x, str) else x for name, x in sentence.figures.items()}
    return say(sentence.pattern, **figures)


def with_method(estimate: Estimate) -> str:
    """Return an estimate in nats in the language of the context; some methods have no Chinese name."""
    if LANGUAGE.get() == "en":
        return str(estimate)
    return f"{estimate.written} 奈特（{name_of(in_figures(estimate.method))}）"


def columns(words: str, width: int) -> str:
    """Return words with spaces up to a width; Chinese characters are two columns wide."""
    return words + " " * (width - sum(2 if east_asian_width(letter) in "WF" else 1 for letter in words))


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
