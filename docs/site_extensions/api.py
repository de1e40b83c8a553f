"""The directive `{api} MODULE`, which shows the public names of a module, or those it is given."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import relpath
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import ExtensionMetadata, OptionSpec

from . import listing, markdown
from .listing import Entry
from .sources import SCHEME, linked


class API(SphinxDirective):
    """Public names with all that their docstrings say; with `:index:` a table of them."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[OptionSpec] = {"index": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Write the names as Markdown, and parse it."""
        module = self.arguments[0]
        names = " ".join(self.content).split() or listing.public(module)
        entries = [listing.entry(module, name) for name in names]
        for entry in entries:
            self.env.note_dependency(str(entry.file))
        text = _table(entries) if "index" in self.options else "\n".join(map(_shown, entries))
        node = nodes.container()
        self.state.nested_parse(StringList(text.split("\n"), source=module), 0, node)
        places = {name: entry for each in entries for name, entry in _named(each)}
        for signature in node.findall(addnodes.desc_signature):
            signature.append(self._source(places[signature["ids"][0]]))
        return list(node.children)

    def _source(self, entry: Entry) -> nodes.reference:
        path = relpath(entry.file, listing.ROOT)
        linked(self.env).add(path)
        uri = f"{SCHEME}{path}#L-{entry.line}"
        return nodes.reference("", "source", refuri=uri, internal=True, classes=["source-link"])


def _named(entry: Entry) -> Iterator[tuple[str, Entry]]:
    yield entry.name, entry
    for member in entry.members:
        yield f"{entry.name}.{member.name}", member


def _table(entries: list[Entry]) -> str:
    rows = [f"| `{entry.name}` | {entry.summary} |" for entry in entries]
    return "\n".join(["| | |", "|---|---|", *rows])


def _shown(entry: Entry, depth: int = 0) -> str:
    """The directive of Sphinx's Python domain for a name, with its members inside."""
    fence = "`" * (6 - depth)
    kind, options = entry.kind, list[str]()
    if kind in ("classmethod", "staticmethod"):
        kind, options = "method", [f":{kind}:"]
    shown = entry.name
    if entry.signature is not None:
        shown += stringify_signature(entry.signature, unqualified_typehints=True)
    members = [_shown(member, depth + 1) for member in entry.members]
    body = "\n".join([markdown.page(entry.doc), *members])
    return "\n".join([f"{fence}{{py:{kind}}} {shown}", *options, "", body, fence, ""])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know the directive."""
    app.add_directive("api", API)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
