"""The house: what may import what, and what is in the wheel."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
# From the top down: no room imports one above it, or beside it in the same row.
LAYERS = [
    {"cli"}, {"explore"}, {"compare", "integrations", "plan"}, {"training"}, {"report"},
    {"pipeline"}, {"optim"}, {"smoothing"}, {"theory", "io"},
    {"_processes"}, {"_arguments", "_imports", "_parent", "_renamed", "_user_line"},
]  # fmt: skip
ENTRANCES = {"pprs", "pprs.__main__"}  # they show what lies below, or open the top


@cache
def modules():
    """The files of the package, by the names of their modules."""
    names = {}
    for file in (ROOT / "pprs").rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


@cache
def imports():
    """All pairs of a module and one that it imports, wherever in its file."""
    pairs = set()
    for name, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                pairs |= {(name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    pairs.add((name, whole if whole in modules() else node.module))
    return pairs


def room(module):
    return module.split(".")[1]


def test_every_room_has_its_place():
    rooms = {room(name) for name in modules() if name not in ENTRANCES}
    assert rooms == set.union(*LAYERS)


def test_nothing_imports_what_is_above_it():
    place = {name: row for row, names in enumerate(LAYERS) for name in names}
    upward = [
        f"{name} imports {other}"
        for name, other in imports()
        if name not in ENTRANCES and other in modules() and other not in ENTRANCES
        if room(name) != room(other) and place[room(name)] >= place[room(other)]
    ]
    assert not sorted(upward)


def test_no_imports_go_in_a_circle():
    graph = networkx.DiGraph((name, other) for name, other in imports() if other in modules())
    parts = networkx.strongly_connected_components(graph)
    assert not [sorted(part) for part in parts if len(part) > 1]


@pytest.mark.parametrize("outside", ["pprs_experiments", "benchmarks", "tests"])
def test_the_package_imports_nothing_that_is_not_in_its_wheel(outside):
    assert not [name for name, other in imports() if other.split(".")[0] == outside]


@pytest.mark.parametrize("room", ["pprs", "experiments", "benchmarks", "docs", "tests"])
def test_no_file_is_longer_than_350_lines(room):
    lengths = {file: len(file.read_text().splitlines()) for file in (ROOT / room).rglob("*.py")}
    assert not [f"{file} has {length}" for file, length in lengths.items() if length > 350]


def test_the_wheel_holds_the_package_alone_and_needs_four_others():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["pprs"]}
    needed = {each.partition(">")[0] for each in settings["project"]["dependencies"]}
    assert needed == {"torch", "numpy", "scipy", "networkx"}
