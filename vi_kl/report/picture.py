"""Picture: a figure laid out and drawn once, as SVG for the page and PNG for slides."""

import base64
import dataclasses
import html
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

    def to_html(self, caption: str = "") -> str:
        """Return an HTML figure, with the PNG inside and a caption, by default its own, in a box that can scroll."""
        data = base64.b64encode(self.png).decode()
        image = f'<img alt="{html.escape(self.title)}" src="data:image/png;base64,{data}">'
        words = html.escape(caption or self.caption)
        return f'<figure><div class="drawing">{image}</div><figcaption>{words}</figcaption></figure>'


def draw_picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Lay the figure out once and draw it in both formats."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    text, pixels = io.StringIO(), io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    figure.savefig(pixels, format="png")
    return Picture(name, title, caption, text.getvalue(), pixels.getvalue())
