"""The page of `pprs explore` stands on the site, with a link to it at the top of its own page."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from pprs.explore import explore_page

_PAGE, _FILE = "docs/explore", "explore-page.html"


def _link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    if page == _PAGE and app.builder.format == "html":
        link = nodes.reference("", "Open the page", refuri=_FILE, internal=True)
        title = next(doctree.findall(nodes.title))
        title.parent.insert(title.parent.index(title) + 1, nodes.paragraph("", "", link))


def _write(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        file = Path(app.outdir) / "docs" / _FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(explore_page(), encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know when to write it."""
    app.connect("doctree-resolved", _link)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
