"""The package as a whole: its names, its version, and what it does without torch."""

import subprocess
import sys

import pytest

import pprs
from pprs import optim, pipeline, smoothing, theory
from pprs.cli import main

RENAMED = [
    (smoothing, "NoiseLaw", "NoiseKind"),
    (smoothing, "compiled", "has_native_kernels"),
    (pipeline, "Grid", "Mesh"),
    (theory, "Choice", "PPRSSettings"),
    (theory, "Held", "Vector"),
    (theory, "Method", "Procedure"),
    (smoothing, "Schedule", "PerStep"),
    (theory, "Run", "Trajectory"),
    (theory, "Schedule", "ScheduleName"),
]

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
import pprs
assert {*pprs.__all__, "__version__"} <= {*dir(pprs)}
from pprs.cli import main
from pprs.theory import bounds
codes = [main([option]) for option in ("--help", "-h", "--version")]
sys.exit(sum(codes))
"""


def test_names_are_those_of_their_rooms():
    names = {}
    exec("from pprs import *", names)
    assert {*names} - {"__builtins__"} == {*pprs.__all__}
    assert names["smooth"] is pprs.smooth is smoothing.smooth
    assert (pprs.AGD, pprs.PPRS) == (optim.AGD, optim.PPRS)
    assert pprs.Perturbation is smoothing.Perturbation


def test_another_name_is_an_error_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'pprs' has no attribute 'smoothe'"):
        _ = pprs.smoothe
    assert not hasattr(pprs, "tasks_of_another")


def test_a_name_that_has_changed_still_works_with_a_warning():
    for room, old, new in RENAMED:
        with pytest.warns(FutureWarning, match=f"{room.__name__}.{old} is now called {new}"):
            assert getattr(room, old) is getattr(room, new)
        with pytest.raises(AttributeError, match=f"'{room.__name__}' has no attribute 'Noisy'"):
            _ = room.Noisy


@pytest.mark.dist
def test_names_are_listed_and_help_version_and_theory_work_without_torch():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: pprs <command>") == 2
    assert f"\npprs {pprs.__version__}\n" in done.stdout


def test_the_version_is_one_that_packages_have(capsys):
    assert main(["--version"]) == 0
    said = capsys.readouterr().out
    assert said == f"pprs {pprs.__version__}\n"
    assert [part.isdecimal() for part in pprs.__version__.split(".")[:2]] == [True, True]
