"""Picture: a figure laid out and drawn once, as SVG for the page and PNG for slides."""

import dataclasses
import io

from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn figure: a file name, a title, what it shows, and the drawing in two formats."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw_picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Lay the figure out once and draw it in both formats."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    text, pixels = io.StringIO(), io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    figure.savefig(pixels, format="png")
    return Picture(name, title, caption, text.getvalue(), pixels.getvalue())
