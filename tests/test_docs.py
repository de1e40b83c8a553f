"""What the pages say exists, exists."""

import json
import re
from functools import reduce
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


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_and_pictures_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


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
