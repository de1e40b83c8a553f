"""The public names, with their signatures, docstrings and places, as the API pages show them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
_API = re.compile(r"^```\{api\} (pprs[\w.]*)\n(.*?)```$", re.MULTILINE | re.DOTALL)


@dataclass
class Entry:
    """A public name: `kind` is that of Sphinx's Python domain."""

    name: str
    kind: str
    doc: str
    signature: inspect.Signature | None
    file: Path
    line: int
    members: list[Entry] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]


def listed() -> Iterator[tuple[str, list[str]]]:
    """Modules and their names, as the pages in docs/api/ list them."""
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        for module, names in _API.findall(page.read_text(encoding="utf-8")):
            if ":index:" not in names:
                yield module, names.split() or public(module)


def public(module: str) -> list[str]:
    """All names of a module that are no modules themselves, and are not shown with `pprs`."""
    found = import_module(module)
    return [
        name
        for name in found.__all__
        if not isinstance(value := getattr(found, name), ModuleType)
        if module == "pprs" or value is not getattr(import_module("pprs"), name, None)
    ]


def entry(module: str, name: str) -> Entry:
    """A public name, found where it is defined."""
    value = getattr(import_module(module), name)
    home = _home(module, name)
    statement, after = _assigned(home)[name]
    path = Path(_origin(home))
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
    else:
        kind = "function" if inspect.isfunction(value) else "data"
    doc = after if kind == "data" else inspect.cleandoc(value.__doc__ or "")
    found = Entry(f"{module}.{name}", kind, doc, None, path, statement.lineno)
    if kind == "data":
        found.doc = f"{after}\n\n`{ast.unparse(statement)}`" if after else ""
    elif kind == "function" or _is_ours(value.__init__):
        signature = inspect.signature(value)
        if kind == "class":
            signature = signature.replace(return_annotation=inspect.Signature.empty)
        found.signature = signature
    if inspect.isclass(value):
        found.members = [*_members(value)]
    return found


def _members(owner: type) -> Iterator[Entry]:
    """What a class offers: what it and its bases in this package define, with a docstring."""
    bases = [base for base in owner.__mro__ if base.__module__.startswith("pprs")]
    seen: set[str] = set()
    for base in bases:
        for node, after in _assigned(base.__module__, base.__name__).values():
            name = _name(node)
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            value = inspect.getattr_static(owner, name, None)
            function = _function(value)
            kind = "property" if isinstance(value, property) else "method"
            if isinstance(value, classmethod | staticmethod):
                kind = "classmethod" if isinstance(value, classmethod) else "staticmethod"
            if function is None:
                kind = "attribute"
            doc = after if function is None else inspect.cleandoc(function.__doc__ or "")
            if not doc:
                continue
            signature = None
            if function is not None and kind != "property":
                signature = _without_self(function, static=kind == "staticmethod")
            path = Path(_origin(base.__module__))
            yield Entry(name, kind, doc, signature, path, node.lineno)


def _is_ours(method: object) -> bool:
    return str(getattr(method, "__module__", "")).startswith("pprs")


def _function(value: object) -> Any:
    if isinstance(value, property):
        return value.fget
    value = getattr(value, "__func__", value)
    return value if inspect.isfunction(value) else None


def _without_self(function: Any, *, static: bool) -> inspect.Signature:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    return signature if static else signature.replace(parameters=parameters[1:])


def _home(module: str, name: str) -> str:
    """The module that defines a name which another one imports."""
    if name in _assigned(module):
        return module
    for node in ast.walk(_tree(_origin(module))):
        if isinstance(node, ast.ImportFrom) and name in {a.asname or a.name for a in node.names}:
            return _home(str(node.module), name)
    raise AttributeError(f"{module} does not define {name}")


@cache
def _assigned(module: str, owner: str | None = None) -> Mapping[str, tuple[ast.stmt, str]]:
    """The statements of a module or a class that define names, and the strings after them."""
    body: list[ast.stmt] = _tree(_origin(module)).body
    if owner is not None:
        found = _assigned(module)[owner][0]
        body = found.body if isinstance(found, ast.ClassDef) else []
    names: dict[str, tuple[ast.stmt, str]] = {}
    for node, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if name := _name(node):
            names[name] = (node, _string(following))
    return names


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _string(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(node.value.value) if isinstance(node.value.value, str) else ""
    return ""


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


@cache
def _origin(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return spec.origin
