"""Public names in the text of pages lead to what the API pages say of them."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put links around code such as `pprs.smooth`, where it is no link or title yet."""
    domain = app.env.domains.python_domain
    known = _known(domain)
    for node in list(doctree.findall(nodes.literal)):
        whole = known.get(node.astext().partition("(")[0], [])
        if len(whole) == 1 and not _within(node, nodes.reference, nodes.title):
            found = domain.objects[whole[0]]
            copy = node.deepcopy()
            node.replace_self(
                make_refnode(app.builder, docname, found.docname, found.node_id, copy)
            )


def _known(domain: PythonDomain) -> dict[str, list[str]]:
    """The whole names that a name on a page can stand for.

    Written are also the ends of names, `bounds.tail`, and names alone that are no words elsewhere:
    `save_run` and `Pipeline`, but not `run` or `device`.
    """
    known: dict[str, list[str]] = {}
    for whole in domain.objects:
        parts = whole.split(".")
        alone = parts[-1]
        for end in (".".join(parts[i:]) for i in range(len(parts) - 1)):
            known.setdefault(end, []).append(whole)
        if parts[-2].islower() and (alone != alone.lower() or "_" in alone) and len(alone) > 3:
            known.setdefault(alone, []).append(whole)
    return known


def _within(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> ExtensionMetadata:
    """Let Sphinx know this step."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
