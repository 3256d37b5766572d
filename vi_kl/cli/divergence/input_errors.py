"""Mistakes in what users type: one sentence, and the place it is about."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Place:
    """A part of an expression: the characters from `start` up to `end`."""

    source: str
    start: int = 0
    end: int | None = None

    def marked(self, width: int = 80) -> str:
        """Return the expression with carets under the place; of a long expression, the part around it.

        Args:
            width: the number of columns that the terminal has.
        """
        source = "".join(character if character.isprintable() else "?" for character in self.source)
        end = len(source) if self.end is None else self.end
        carets = max(1, end - self.start)
        if len(source) < width:  # the caret may stand behind the last character
            return f"{source}\n{' ' * self.start}{'^' * carets}"
        room = width - 2  # an ellipsis on either side
        first = max(0, min(self.start - room // 3, len(source) - room))
        excerpt = source[first : first + room]
        before, after = ("…" if first else " "), ("…" if first + room < len(source) else "")
        visible = max(1, min(carets, room - (self.start - first)))
        return f"{before}{excerpt}{after}\n{' ' * (self.start - first + 1)}{'^' * visible}"


class ExpressionError(ValueError):
    """A mistake in an expression.

    Attributes:
        sentence: what is wrong, and how to mend it.
        place: the part of the expression that is wrong.
    """

    def __init__(self, sentence: str, place: Place):
        super().__init__(sentence)
        self.sentence = sentence
        self.place = place

    def __str__(self):
        return f"{self.place.marked()}\n{self.sentence}"
