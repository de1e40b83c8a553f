"""Writes the map of the folders into CONTRIBUTING.md, from their own words and their imports.

`python docs/house.py` writes it, `python docs/house.py --check` fails where it is out of date,
and both where packages import each other in a circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("pprs", "experiments", "benchmarks", "examples")
BEGIN, END = "<!-- written by docs/house.py -->\n", "<!-- until here -->"


def main(arguments: list[str]) -> int:
    """Write the map, or compare it; returns the exit code."""
    page = ROOT / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    try:
        lines = "\n".join(house(ROOT))
    except CycleError as error:
        print(f"packages import each other: {' imports '.join(error.args[1][::-1])}")
        return 1
    wanted = f"{before}{BEGIN}```\n{lines}\n```\n{END}{after}"
    if "--check" not in arguments:
        page.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        print("the map in CONTRIBUTING.md is out of date: run .venv/bin/python docs/house.py")
        return 1
    return 0


def house(root: Path) -> Iterator[str]:
    """A line for each folder that tells what it is, indented by its depth."""
    for name in ROOMS:
        if (root / name).is_dir():
            yield from _lines(root / name, 0)


def _lines(folder: Path, depth: int) -> Iterator[str]:
    yield f"{'  ' * depth + folder.name + '/':<20} {_summary(folder)}".rstrip()
    inner = {path.name: path for path in sorted(folder.iterdir(), reverse=True) if _summary(path)}
    needs = {name: sorted(_imported(path) & inner.keys() - {name}) for name, path in inner.items()}
    # What others import comes first in that order, and last here.
    for name in reversed(list(TopologicalSorter(needs).static_order())):
        yield from _lines(inner[name], depth + 1)


def _summary(folder: Path) -> str:
    """The first line of a package's docstring, or the title of a folder's page."""
    package, page = folder / "__init__.py", folder / "README.md"
    if package.is_file():
        return (ast.get_docstring(_tree(package)) or "").partition("\n")[0]
    return page.read_text(encoding="utf-8").partition("\n")[0][2:] if page.is_file() else ""


def _imported(folder: Path) -> set[str]:
    """The names of what lies beside a folder that any module in it imports, at whatever depth."""
    parent = folder.parent
    parts: list[str] = []
    while (parent / "__init__.py").is_file():
        parts.insert(0, parent.name)
        parent = parent.parent
    prefix = "".join(f"{part}." for part in parts)
    nodes = [node for path in folder.rglob("*.py") for node in ast.walk(_tree(path))]
    modules = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names} | {
        f"{n.module}.{alias.name}"
        for n in nodes
        if isinstance(n, ast.ImportFrom) and n.module
        for alias in n.names
    }
    return {m.removeprefix(prefix).partition(".")[0] for m in modules if m.startswith(prefix)}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
