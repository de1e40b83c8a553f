"""Links to files and folders of the repository lead to pages of the site that show them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html import escape
from os.path import relpath
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.typing import ExtensionMetadata

from .listing import ROOT

FOLDER = "source/"  # of the site
_LARGEST = 200_000  # bytes; what is larger is offered as it is
SCHEME = "source:"


class SourceLinks(SphinxTransform):
    """Marks links to files and folders that are no pages, before Sphinx makes downloads of them."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Put plain references in their place, which `resolve` completes."""
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                path = self._path(str(node["reftarget"]))
                if node.get("refdomain") or path is None:
                    continue
                linked(self.env).add(path)
                link = nodes.reference("", "", *node.children, internal=True)
                link["refuri"] = SCHEME + path
                node.replace_self(link)

    def _path(self, target: str) -> str | None:
        """A link's file or folder by its path in the repository, if it can be shown."""
        page = Path(self.env.doc2path(self.env.docname))
        path = (page.parent / target.partition("#")[0]).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return None
        return relpath(path, ROOT) if path.is_dir() or shown(path) else None


def shown(path: Path) -> bool:
    """Whether a file is code or a text of moderate size."""
    if path.stat().st_size > _LARGEST or path.suffix in (".ipynb", ".jsonl", ".svg", ".png"):
        return False
    return path.suffix != ".md"


def linked(env: BuildEnvironment) -> set[str]:
    """The files and folders to which pages link."""
    found: set[str] = vars(env).setdefault("pprs_linked", set())
    return found


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the marked links into addresses."""
    for node in doctree.findall(nodes.reference):
        path = node.get("refuri", "")
        if path.startswith(SCHEME):
            path, _, line = path.removeprefix(SCHEME).partition("#")
            uri = app.builder.get_relative_uri(docname, FOLDER + path)
            node["refuri"] = f"{uri}#{line}" if line else uri


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file and folder to which pages link, and for the folders' files."""
    waiting, done = sorted(linked(app.env)), set[str]()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        body = _file(ROOT / path)
        if (ROOT / path).is_dir():
            inside = [file for file in _inside(ROOT / path) if file.is_dir() or shown(file)]
            waiting += [relpath(file, ROOT) for file in inside]
            body = _folder(inside)
        title = f'<h1><code class="source-title">{escape(path)}</code></h1>'
        yield FOLDER + path, {"parents": [], "title": path, "body": title + body}, "page.html"


def _inside(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name[0] not in "._")


def _folder(files: list[Path]) -> str:
    folder = files[0].parent.name if files else ""
    rows = [
        f'<li><a href="{folder}/{file.name}.html"><code>{file.name}</code></a> {_about(file)}</li>'
        for file in files
    ]
    return f"<ul>{''.join(rows)}</ul>"


def _about(file: Path) -> str:
    """The first line of a module's docstring."""
    if file.suffix != ".py":
        return ""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return escape((ast.get_docstring(tree) or "").partition("\n")[0])


def _file(path: Path) -> str:
    if path.is_dir():
        return ""
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = get_lexer_for_filename("it.txt")
    formatter = HtmlFormatter[str](linenos="inline", lineanchors="L", wrapcode=True)
    code = highlight(path.read_text(encoding="utf-8"), lexer, formatter)
    return f'<div class="highlight-source notranslate">{code}</div>'


def merge(_app: Sphinx, env: BuildEnvironment, _names: list[str], other: BuildEnvironment) -> None:
    """Take in what another process has read."""
    linked(env).update(linked(other))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know these steps."""
    app.add_transform(SourceLinks)
    app.connect("doctree-resolved", resolve)
    app.connect("env-merge-info", merge)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
