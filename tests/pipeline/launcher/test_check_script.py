"""Scripts and shells in which processes cannot start, or have been started by nobody."""

import os
import re
import subprocess
import sys
from types import ModuleType

import pytest
from pipeline.launcher.ports import free_port

from pprs.pipeline import LaunchError, check_world, launch
from pprs.pipeline.launcher.progress import report_progress
from pprs.pipeline.launcher.rank import Work

pytestmark = pytest.mark.dist
UNGUARDED = """
from pprs.pipeline import launch

def work():
    print("works")

launch(work, 1)
"""


def work(*_):
    """Does nothing."""


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    *_, last = done.stderr.splitlines()
    said = (
        r"LaunchError: rank . \(.*\) came to launch\(\) again .* under `if __name__ == .__main__.:"
    )
    assert re.search(said, last)


@pytest.mark.parametrize("worker", [lambda: None, lambda *_: work])
def test_a_worker_that_no_process_can_import_is_refused(worker):
    with pytest.raises(
        ValueError, match="worker must be a function at the top of a module.*got .*<"
    ):
        launch(worker, 2)


def test_a_worker_of_an_interactive_session_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setattr(work, "__module__", "__main__")
    with pytest.raises(ValueError, match="worker must be in a file .*: put work and what it needs"):
        launch(work, 2)


def test_what_cannot_be_pickled_is_refused():
    with pytest.raises(ValueError, match="worker and its arguments must be picklable: .*lambda"):
        launch(work, 1, lambda: 0)


@pytest.fixture
def shell(monkeypatch):
    """The environment of a shell in which an earlier launcher has left its variables."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    left = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


UNSET = "if no launcher started this process, unset RANK WORLD_SIZE MASTER_ADDR MASTER_PORT"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORLD_SIZE", "4", r"RANK=0 and WORLD_SIZE=4 in the environment .* need 2: .*; "),
        ("WORLD_SIZE", "two", r"WORLD_SIZE in the environment must be a number, got 'two': "),
        ("RANK", "-1", r"RANK in the environment must be a number, got '-1': "),
        ("RANK", "2", r"RANK=2 must be below WORLD_SIZE=2: "),
        ("LOCAL_RANK", "", r"LOCAL_RANK in the environment must be a number, got '': "),
        ("MASTER_PORT", "٣", r"MASTER_PORT in the environment must be a number, got '٣': "),
    ],
)
def test_what_an_earlier_launcher_has_left_is_named(shell, name, value, said):
    check_world(2)
    shell.setenv(name, value)
    with pytest.raises(ValueError, match=said + UNSET):
        check_world(2)
    with pytest.raises(ValueError, match=said + UNSET):
        launch(work, 2)


def test_torchruns_own_processes_are_counted_without_talk_of_shells(shell):
    shell.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ValueError, match=r"^torchrun started 2 processes, .* need 3: .* 3$"):
        check_world(3)


def test_a_rank_that_waits_for_nobody_says_so_at_once(shell, capfd):
    shell.setattr("pprs.pipeline.launcher.rank.MEETING_SECONDS", 0.5)
    port = str(free_port())
    shell.setenv("MASTER_PORT", port)
    shell.setenv("LOCAL_WORLD_SIZE", str(os.cpu_count() or 1))  # one thread
    with pytest.raises(LaunchError, match=f"waited 0.5 s .* for all 2 ranks; {UNSET}"):
        launch(work, 2)
    said = f"pprs: rank 0, as RANK in the environment says, waits at 127.0.0.1:{port} for 1 more; "
    assert said + UNSET in capfd.readouterr().err


def loses_another():
    raise RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:27884. Typically ...")


def test_a_rank_that_has_only_lost_another_leaves_the_reason_to_it(shell):
    shell.setattr("atexit.register", lambda *_: None)  # this process goes on
    shell.setattr(Work, "run", lambda work: work.worker())
    report_progress([1], 7)  # of an earlier pipeline of this process
    with pytest.raises(LaunchError, match="^rank 0 has lost another, which says why$"):
        launch(loses_another, 2)
