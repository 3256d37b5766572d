"""Formulas become MathML when the pages are built, so that nothing is fetched or run where they are read or printed.

A formula is LaTeX: between dollars in a line of text, in a block marked `math` by itself. Blocks of several lines, each
with `&` where they are aligned and `\\\\` at its end, are one `align*`. It is converted by latex2mathml.
"""

import re

from latex2mathml.converter import convert
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

INLINE = r"(?<![\\$\w])\$(?=[^\s$])([^$]*?[^\s$\\])\$(?![\w$])"
DISPLAY = r"\$\$([^$]+)\$\$"
LOG = r"(<mi>log</mi>|<msub><mi>log</mi><m[in]>\w+</m[in]></msub>)"
FACTOR = r"(</(?:mi|mn|msub|msup|mfrac)>)"  # after which it needs one too
SIGN = r"(&#x00028;</mo>|&#x0003D;</mo>)<mo>(?=&#x02212;)"  # a minus that is no difference
OPERAND = r"(?=<(?:mi|mn|mfrac|msub|msup|msqrt|mtext)\b)"  # before which a logarithm needs a space
UNKNOWN = re.compile(r"<mi>(?:\\|&<)")  # a command that latex2mathml does not know, or a stray &


def mathml(latex: str, display: str = "inline") -> str:
    """Return a formula as MathML; what latex2mathml cannot read is an error of the build."""
    text = re.sub(r"\\mathrm\{(\w+)\}", r"\\text{\1}", latex.strip())  # letters of one word
    if "\\\\" in text and "\\begin" not in text:
        text = rf"\begin{{align*}} {text} \end{{align*}}"
    made = convert(text, display=display)
    if UNKNOWN.search(made):
        raise ValueError(f"latex2mathml cannot read this formula: {latex}")
    made = re.sub(FACTOR + LOG, r'\1<mspace width="0.17em"/>\2', made)
    made = re.sub(SIGN, r'\1<mo form="prefix">', made)
    return re.sub(LOG + OPERAND, r'\1<mspace width="0.17em"/>', made)


def block(source: str, *_args, **_kwargs) -> str:
    """Return what a block marked `math` shows, in a box that scrolls where the page is narrow."""
    return f'<span class="formula">{mathml(source, "block")}</span>'


class Dollars(InlineProcessor):
    """LaTeX between dollars, single ones in a line of text or double ones by itself."""

    def __init__(self, pattern, md, display):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m, data):
        made = block(m.group(1)) if self.display == "block" else mathml(m.group(1))
        return self.md.htmlStash.store(made), m.start(0), m.end(0)


class Formulas(Extension):
    """The Markdown extension for formulas in text."""

    def extendMarkdown(self, md):
        md.inlinePatterns.register(Dollars(DISPLAY, md, "block"), "display_formula", 186)  # before escapes, after code
        md.inlinePatterns.register(Dollars(INLINE, md, "inline"), "formula", 185)


def on_config(config):
    """Add both kinds of formula to the Markdown of the pages."""
    config.markdown_extensions.append(Formulas())
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": block})
    return config
