"""A table of ours on a terminal of any width: words wrap, and a number, a name or a verdict is never cut or broken.

A table that is too wide has its words wrapped, and its columns put closer; one that still is too wide is split into
several, side by side in the original and below each other here, each of which begins with the first column; and where
not even the first column and one other have room, each row is a block of lines.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from vi_kl.report.tables import Table

WIDE, CLOSE = 3, 2  # characters between columns, and where they have no room beside each other otherwise
LEGIBLE = 3  # the first column of a split table takes this part of the width before its words wrap


@dataclasses.dataclass(frozen=True)
class Lengths:
    """The lengths of one column's cells, in places of the terminal: a Chinese character takes two.

    Attributes:
        title: the title on one line.
        cells: the longest cell on one line.
        least: the longest part that must not be broken: a word, or a number with its error.
    """

    title: int
    cells: int
    least: int


@dataclasses.dataclass(frozen=True)
class TerminalTable:
    """What rich prints as a table, in the shape for which there is room.

    Attributes:
        table: what to show; a cell may also be one of rich's own `Text`s. Cells are taken literally, brackets and all.
        title: the line above it.
        left: the places of the columns of words, aligned at the left; numbers stand at the right.
        inside: whether other text surrounds it, so that it needs no space at its edges.
        ends: the rows after which a blank line follows.
        gap: the characters between columns.
    """

    table: Table
    title: str | None = None
    left: tuple[int, ...] = (0,)
    inside: bool = False
    ends: tuple[int, ...] = ()
    gap: int = WIDE

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if self.title:
            yield Text(self.title, style="table.title")
        room = options.max_width
        groups = self.groups(room)
        closer = dataclasses.replace(self, title=None, gap=CLOSE)
        if self.inside and groups != [self.every] and closer.groups(room) == [self.every]:
            yield from closer.__rich_console__(console, options)
            return
        if groups is None:
            yield from self.blocks(room)
            return
        for i, places in enumerate(groups):
            if i and self.inside:
                yield ""
            yield self.grid(places, room)

    @property
    def every(self) -> list[int]:
        return list(range(len(self.table.columns)))

    def groups(self, room: int) -> list[list[int]] | None:
        """Return the columns of each of the tables that this one is shown as; None if no two have room."""
        every = self.every
        if not every or self.widths(every, room) is not None:
            return [every]
        groups = [every[:1]]
        for place in every[1:]:
            if self.widths([*groups[-1], place], room, split=True) is not None:
                groups[-1].append(place)
            elif self.widths([0, place], room, split=True) is not None and len(groups[-1]) > 1:
                groups.append([0, place])
            else:
                return None
        return groups

    def widths(self, places: Sequence[int], room: int, split: bool = False) -> list[int] | None:
        """Return a width for each of these columns, so that they have room together; None if there is none."""
        lengths = [self.lengths(place) for place in places]
        least = [one.least for one in lengths]
        if split:
            least[0] = max(least[0], min(lengths[0].cells, room // LEGIBLE))
        room -= self.between(len(places))
        if sum(least) > room:
            return None
        found = [max(one.title, one.cells) for one in lengths]
        for floor in ([max(one.cells, one.least) for one in lengths], least):  # titles wrap first
            while sum(found) > max(room, sum(floor)):
                i = max((i for i in range(len(found)) if found[i] > floor[i]), key=found.__getitem__)
                found[i] -= 1
        return found

    def between(self, columns: int) -> int:
        """Return the characters that so many columns take beside their cells."""
        return self.gap * (columns - 1) if self.inside else WIDE * columns + 1

    def lengths(self, place: int) -> Lengths:
        """Return how long the lines of a column are, and its longest word, or number."""
        title, cells = self.table.columns[place], [plain(row[place]) for row in self.table.rows]
        parts = title.split() + [part for cell in cells for part in self.parts(cell, place)]
        return Lengths(cell_len(title), max(map(cell_len, cells), default=0), max(map(cell_len, parts), default=0))

    def parts(self, cell: str, place: int) -> list[str]:
        """Return what must not be broken: words, or a number with its error and what stands in parentheses after it."""
        return cell.split() if place in self.left else cell.replace(" (", "\n(").split("\n")

    def grid(self, places: Sequence[int], room: int) -> RichTable:
        """Return some columns as a table of rich's."""
        widths = self.widths(places, room, split=len(places) < len(self.table.columns))
        titled = any(self.table.columns[place] for place in places)
        edge, close = not self.inside, self.gap == CLOSE
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=edge, show_edge=edge, show_header=titled, collapse_padding=close)
        for place, width in zip(places, widths or (), strict=True):
            title, justify = Text(self.table.columns[place]), "left" if place in self.left else "right"
            grid.add_column(title, justify=justify, width=width, overflow="fold")
        for i, row in enumerate(self.table.rows):
            cells = [self.fitted(row[p], p, width) for p, width in zip(places, widths or (), strict=True)]
            grid.add_row(*cells, end_section=i in self.ends)
        return grid

    def fitted(self, cell: str | Text, place: int, width: int) -> Text:
        """Return a cell whose number stays on one line, where what follows it does not."""
        if isinstance(cell, Text):
            return cell
        whole = cell_len(cell) <= width or place in self.left
        return Text(cell if whole else "\n".join(self.parts(cell, place)))

    def blocks(self, room: int) -> Iterator[RenderableType]:
        """Yield the rows, each as the first cell and below it a line or two for every other."""
        for row in self.table.rows:
            yield Text(plain(row[0]), style="bold", overflow="fold")
            for title, cell in zip(self.table.columns[1:], row[1:], strict=True):
                if not plain(cell):
                    continue
                line = f"{title}: {plain(cell)}" if title else plain(cell)
                if cell_len(line) + 2 > room:
                    line = f"{title}:\n  {plain(cell)}"
                yield Padding(Text(line, overflow="fold"), (0, 0, 0, 2))
            yield ""


def plain(cell: str | Text) -> str:
    """Return the characters of a cell."""
    return cell.plain if isinstance(cell, Text) else cell
