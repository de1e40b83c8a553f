"""What the pages say exists, exists."""

import doctest
import json
import re
import runpy
import tomllib
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
import warm

import pprs.theory

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"


def index():
    """The rows of the index of equations: number, functions, test."""
    page = (ROOT / "docs" / "theory.md").read_text().partition("## Index of the equations")[2]
    rows = re.findall(r"^\| \((\d+)\) \| (.+) \| `(.+)` \|$", page, re.MULTILINE)
    return [(int(number), re.findall(r"`([^`]+)`", names), test) for number, names, test in rows]


def test_every_equation_is_in_the_index():
    assert [number for number, _, _ in index()] == list(range(1, 24))


@pytest.mark.parametrize(("number", "names", "test"), index())
def test_the_functions_and_tests_of_the_index_exist(number, names, test):
    for name in names:
        assert reduce(getattr, name.split("."), pprs.theory) is not None
    assert_defined("theory/" + test)


def test_the_tests_that_the_errata_name_exist():
    page = (ROOT / "docs" / "errata.md").read_text()
    named = re.findall(r"`([\w/]+\.py::\w+)`", page)
    assert len(named) >= 15
    for test in named:
        assert_defined(test)


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=str)
def test_links_and_pictures_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_what_a_page_says_that_python_prints_it_prints(page):
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_what_contributors_are_sent_to_a_file_for_is_there():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    sent = [
        (file, name)
        for file, names in re.findall(r"\]\(([^)]+\.(?:py|md))\): ([^|;]+)", page)
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert len(sent) >= 15
    for file, name in sent:
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), (file, name)


def test_the_glossary_says_where_its_names_are_defined():
    page = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| .+ \| `(\w+)` \| .+ \| \[.+\]\((.+)\) \|$", page, re.MULTILINE)
    assert len(rows) >= 40
    for name, file in rows:
        assert re.search(rf"\b{name}\b", (ROOT / "docs" / file).read_text()), (name, file)


def test_each_dependency_is_in_the_table_with_what_it_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w-]+) \| .+ \| \d+ MB \| .+ \|$", page, re.MULTILINE)
    assert rows == [re.split(r"[<>=]", name)[0] for name in needed]


def test_the_picture_of_the_first_page_is_that_of_its_program():
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_pipeline.py"))
    assert (ROOT / "docs/images/pipeline.svg").read_text() == drawn["picture"]()


def test_docstrings_are_markdown_and_not_restructured_text():
    marked = re.compile(r"[^`]``[^`]|:(func|class|meth|attr|mod):`")
    for file in (
        f for room in ("pprs", "experiments", "benchmarks") for f in (ROOT / room).rglob("*.py")
    ):
        assert not marked.search(file.read_text()), file


def test_the_names_that_are_called_public_are():
    page = (ROOT / "docs" / "stability.md").read_text()
    rows = re.findall(r"^\| `(pprs[\w.]*)` \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for room, names in rows:
        public = import_module(room).__all__
        assert {n for n in re.findall(r"`(\w+)`", names) if n != "__all__"} <= {*public}, room


@pytest.mark.dist
@pytest.mark.slow
def test_the_script_of_the_guide_runs_as_it_stands(tmp_path):
    page = (ROOT / "docs" / "guide.md").read_text()
    (script,) = re.findall(r"```python\n(# script\.py\n.+?)```", page, re.DOTALL)
    (tmp_path / "script.py").write_text(script)
    ranks = warm.torchrun(2, "script.py", cwd=tmp_path)
    assert [done.returncode for done in ranks] == [0, 0], ranks
    losses = [float(loss) for done in ranks for loss in re.findall(r"loss (\S+)", done.stdout)]
    assert len(losses) == 3
    assert losses[-1] < losses[0] / 2
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def assert_defined(test):
    file, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (TESTS / file).read_text(), re.MULTILINE), test
