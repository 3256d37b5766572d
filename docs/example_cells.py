"""An example of examples/, run cell by cell: what each cell printed, and the pictures that it wrote."""

import contextlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A cell of a script in the percent format: its kind, its text, and the line of the script where it begins."""

    kind: str
    text: str
    line: int


class Shown(NamedTuple):
    """What an example printed, cell by cell, and the pictures that it wrote, {file name: content}."""

    printed: list[str]
    pictures: dict[str, bytes]


def cells_of(script: str) -> list[Cell]:
    """Return the cells of a script, those of text without their comment signs."""
    found = []
    marks = list(re.finditer(r"^# %%( \[markdown\])?\n", script, re.MULTILINE))
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        text = script[mark.end() : after.start() if after else None]
        if mark[1]:
            found.append(Cell("markdown", re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip(), 0))
        else:
            found.append(Cell("code", text.strip("\n"), script[: mark.end()].count("\n")))
    return found


def title_of(cells: list[Cell]) -> tuple[str, str]:
    """Return an example's title and its first paragraph."""
    title, _, rest = cells[0].text.partition("\n")
    return title.removeprefix("# "), rest.strip().split("\n\n")[0].replace("\n", " ")


def run_example(script: Path) -> Shown:
    """Run the cells of a script in an empty folder of its own, and return what they printed and wrote."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    printed = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for cell in cells_of(script.read_text()):
            out = io.StringIO()
            if cell.kind == "code":
                # the lines keep their numbers, so that errors and the source of functions are the script's
                code = compile("\n" * cell.line + cell.text, str(script), "exec")
                with contextlib.redirect_stdout(out):
                    exec(code, names)
            printed.append(out.getvalue())
        pictures = {picture.name: picture.read_bytes() for picture in sorted(Path(folder).glob("*.png"))}
    if not pictures:
        raise RuntimeError(f"{script.name} writes no picture: let it save one as a PNG, for the gallery.")
    for picture in pictures:
        if f"{picture} written\n" not in "".join(printed):
            raise RuntimeError(f"{script.name} does not print '{picture} written', where its page shall show it.")
    return Shown(printed, pictures)
