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
    for node in list(doctree.findall(nodes.literal)):
        target = _target(domain, node.astext())
        if target is None or _within(node, nodes.reference, nodes.title):
            continue
        page, anchor = target
        copy = node.deepcopy()
        node.replace_self(make_refnode(app.builder, docname, page, anchor, copy))


def _target(domain: PythonDomain, text: str) -> tuple[str, str] | None:
    name = text.partition("(")[0]
    if name.startswith("pprs."):
        found = [domain.objects[name]] if name in domain.objects else []
    else:
        found = [domain.objects[whole] for whole in _whole_names(domain).get(name, ())]
    return (found[0].docname, found[0].node_id) if len(found) == 1 else None


def _whole_names(domain: PythonDomain) -> dict[str, list[str]]:
    """Names as pages write them in passing, if they cannot be taken for something else.

    Words that are no names elsewhere: `save_run`, `Pipeline`, but not `run` or `device`.
    """
    names: dict[str, list[str]] = {}
    for whole in domain.objects:
        name = whole.rpartition(".")[2]
        package = whole.removesuffix(f".{name}").rpartition(".")[2]
        if package.islower() and (name != name.lower() or "_" in name) and len(name) > 3:
            names.setdefault(name, []).append(whole)
    return names


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
