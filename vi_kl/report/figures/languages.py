"""Fonts of figures whose words are in another language than English.

matplotlib's own font has no Chinese characters, and would draw boxes. The fonts come from packages: on Debian and
Ubuntu fonts-noto-cjk or fonts-wqy-microhei, from PyPI pylopdf-fonts-zh-cn (Noto Sans SC), which is a part of the extra
`docs`.
"""

import functools
import importlib.util
from pathlib import Path

from matplotlib import font_manager

from vi_kl.core.errors import ViKLError
from vi_kl.core.languages import check_language

FAMILIES = (
    "Noto Sans SC",
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Noto Sans CJK JP",  # the name under which matplotlib finds the collection of all of these
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Microsoft YaHei",
)
PACKAGE, FILE = "pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf"


class NoFontError(ViKLError, RuntimeError):
    """An error: no font with the characters of a language was found; the message says where there is one."""


def font_settings(language: str) -> dict:
    """Return settings of matplotlib under which the characters of a language are drawn.

    Raises:
        NoFontError: there is no font for them.
        ValueError: there are no words in that language.
    """
    check_language(language)
    if language == "en":
        # names in the data may be Chinese: of their characters matplotlib's own font draws boxes
        return {"font.sans-serif": ["DejaVu Sans", found]} if (found := chinese_font_if_any()) else {}
    # signs that the Chinese font lacks are drawn from matplotlib's own
    return {"font.sans-serif": [chinese_font(), "DejaVu Sans"]}


@functools.cache
def chinese_font_if_any() -> str | None:
    """Return the name of a font family with Chinese characters; None if none is installed."""
    try:
        return chinese_font()
    except NoFontError:
        return None


@functools.cache
def chinese_font() -> str:
    """Return the name of a font family with Chinese characters.

    Raises:
        NoFontError: none is installed.
    """
    known = {font.name for font in font_manager.fontManager.ttflist}
    for family in FAMILIES:
        if family in known:
            return family
    found = importlib.util.find_spec(PACKAGE)
    if found is not None and found.origin is not None:
        file = Path(found.origin).with_name(FILE)
        font_manager.fontManager.addfont(file)
        return font_manager.FontProperties(fname=file).get_name()
    raise NoFontError(
        "No font with Chinese characters was found, and figures would show boxes in their place. Install one: "
        "'apt install fonts-noto-cjk' (or fonts-wqy-microhei) on Debian and Ubuntu, or 'pip install "
        "pylopdf-fonts-zh-cn'; then delete matplotlib's list of fonts if it is not found "
        "(matplotlib.get_cachedir())."
    )
