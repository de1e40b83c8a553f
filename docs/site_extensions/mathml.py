"""Maths as MathML, which browsers draw by themselves: no script, and nothing from elsewhere."""

from __future__ import annotations

import re
from typing import cast

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

# What docutils does not know, or reads otherwise than TeX.
_OTHERWISE = [
    (r"\\([td]?frac|binom)\s*(\d)(?=\d)", r"\\\1{\2}"),  # \frac12 is a half, not 12 over something
    (r"(\\[td]?frac\{\d\})(\d)", r"\1{\2}"),
    (r"\\frac(\d)(?=[\\A-Za-z{])", r"\\frac{\1}"),
    (r"\\(Big|big)(?=[(\[{])", r"\\\1l"),
    (r"\\(Big|big)(?=[)\]}])", r"\\\1r"),
    (r"(?<=\d)\\log\b", r"\\,\\log"),  # a space around names of functions
    (r"\\(log|max|min|sup)\s+(?=[A-Za-z\\])", r"\\\1\\,"),
    (r"\\dots\b", r"\\ldots"),
    ("⟦", r"\\llbracket "),
    ("⟧", r"\\rrbracket "),
]


def mathml(tex: str, *, block: bool = False) -> str:
    """The MathML of a formula in TeX.

    Raises:
        MathError: for what docutils cannot read.
    """
    for pattern, instead in _OTHERWISE:
        tex = re.sub(pattern, instead, tex)
    return cast(str, tex2mathml(tex, as_block=block))


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know the renderer, by the name `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
