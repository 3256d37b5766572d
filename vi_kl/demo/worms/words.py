"""The story's words in the language it is told in: `say` returns a sentence, English unless the context is Chinese.

A sentence is written in English where it is said, with fields in braces for figures, and chinese.py has it in Chinese.
What certificates say, and the columns of tables of fits, are vi_kl's own words, and English in both.
"""

from vi_kl.core.languages import in_context
from vi_kl.demo.worms.chinese import CHINESE


def say(sentence: str, /, **figures) -> str:
    """Return a sentence in the language of the context, with figures in its fields."""
    return in_context(sentence, CHINESE, figures)
