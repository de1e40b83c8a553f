"""Ranks that start before it is known what they are to do: real processes, real signals."""

import gc
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch.distributed as dist
import warm
from waiting import session, wait

from pprs._imports import Call, uncollected, uninterrupted
from pprs._processes import SIGNALS, early_processes, started
from pprs.cli import early_train
from pprs.pipeline import launch
from pprs.pipeline.launcher import rank, restarts
from pprs.training import TrainConfig

pytestmark = pytest.mark.dist


def unblocks(file):
    Path(file).write_text("has work")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def writes(folder, dies):
    """Who it is, and what it finds in the environment; the first attempt of rank 1 is killed."""
    rank = dist.get_rank()
    Path(folder, f"{restarts()}-{rank}").write_text(f"{os.getpid()} {os.environ['SET_LATER']}")
    dist.barrier()
    if dies and rank == 1 and not restarts():
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def dies_while_it_waits(folder):
    with early_processes(1) as early:
        ((process, _),) = early._waiting
        Path(folder, "pid").write_text(str(process.pid))
        os._exit(0)


def told(folder):
    """The process whose number is written there."""
    file = Path(folder, "pid")
    wait(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def dies_while_it_imports(folder):
    Path(folder, "endless.py").write_text(ENDLESS)
    os.environ["FOLDER"] = folder
    sys.path.insert(0, folder)  # a new process has the same
    with early_processes(1, ["endless"]):
        told(folder)
        os._exit(0)


ENDLESS = """
import os, time
from pathlib import Path
Path(os.environ["FOLDER"], "pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.001)
"""


def meets_nobody(folder):
    """Become a rank, and say so when it is about to look for the others."""
    rank.choose_interface = lambda: Path(folder, "pid").write_text(str(os.getpid()))
    nobody = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    rank.start(rank.Work(print, (), 60.0, 5.0), nobody, set())


def dies_while_a_rank_looks_for_others(folder):
    started(Call(meets_nobody, folder))
    told(folder)
    os._exit(0)


def lives(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_one_runs_what_it_is_given_and_the_others_are_gone_after_the_block():
    with early_processes(2) as early:
        pids = {process.pid for process, _ in early._waiting}
        given = early.given(Call(sys.exit, 7))
        given.join()
        assert given.exitcode == 7
        (left,) = pids - {given.pid}
        assert lives(left)
    assert not lives(left)


def test_none_is_left_to_give_once_all_have_work_or_were_ended():
    with early_processes(2) as early:
        early.given(Call(sys.exit, 0)).join()
        early.end()
        assert early.given(Call(sys.exit, 0)) is None


@pytest.mark.parametrize("how", [warm.Context(), warm.COLD], ids=["warm", "cold"])
def test_signals_reach_it_only_once_its_work_lets_them(tmp_path, how):
    warm.call(os.getpid)  # what warm ones are forked from is there, started where none was blocked
    with warm.starting(how), early_processes(1) as early:
        ((process, _),) = early._waiting
        for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(process.pid, each)
        early.given(Call(unblocks, str(tmp_path / "file"))).join()
    assert (tmp_path / "file").exists()
    assert process.exitcode < 0


def test_one_that_has_died_says_so_by_its_exit_code():
    with early_processes(1) as early:
        ((process, _),) = early._waiting
        process.kill()
        process.join()
        assert early.given(Call(sys.exit, 0)).exitcode == -signal.SIGKILL


@pytest.fixture
def ignoring_children():
    """As a process is that one has started which ignores SIGCHLD."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignoring_children")
def test_its_exit_code_is_known_where_children_were_ignored(cold):
    with early_processes(1) as early:
        given = early.given(Call(sys.exit, 7))
        given.join()
        assert given.exitcode == 7


@pytest.mark.parametrize(
    "dies", [dies_while_it_waits, dies_while_it_imports, dies_while_a_rank_looks_for_others]
)
def test_they_leave_by_themselves_when_the_process_that_started_them_dies(tmp_path, dies):
    warm.Process(target=dies, args=(str(tmp_path),)).start()
    pid = told(tmp_path)
    wait(lambda: not lives(pid), 100)  # to meet would be tried for 300 seconds


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_launch_takes_them_with_the_environment_of_now_and_starts_others_after(
    monkeypatch, tmp_path, count
):
    with early_processes(count) as early:
        pids = {process.pid for process, _ in early._waiting}
        monkeypatch.setenv("SET_LATER", "yes")
        launch(writes, 2, str(tmp_path), True, max_restarts=1, early=early)
    found = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert found.keys() == {"0-0", "0-1", "1-0", "1-1"}
    assert {said for _, said in found.values()} == {"yes"}
    first, again = ({int(found[f"{n}-{rank}"][0]) for rank in range(2)} for n in range(2))
    assert len(first & pids) == min(count, 2)
    assert not again & pids
    assert not [pid for pid in pids if lives(pid)]


def frozen():
    before = gc.get_freeze_count()
    with uncollected():
        inside = gc.isenabled()
        kept = [[] for _ in range(10_000)]
    assert gc.get_freeze_count() - before >= len(kept)
    assert (inside, gc.isenabled()) == (False, True)


def test_what_is_imported_is_no_longer_searched_for_garbage():
    warm.call(frozen)


LEFT = """
from pprs._imports import uncollected

class Left:
    def __del__(self):
        print("gone")

with uncollected():
    left = Left()
    left.itself = left
"""


def test_but_goes_when_the_process_ends():
    said = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    assert said.stdout == "gone\n"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("--model a:b --steps 1", TrainConfig(model="a:b", data="a:c", steps=1).stages),
        ("--stages 3 --steps 1", 3),
        ("--steps 1 --stages=1", 1),
        ("--stages 1000", 4),
        ("--stages x", 2),
        ("--stages 3 --modle a:b", 0),
        ("--no-check --config a.toml --save-every=3 --save_minutes 3", 2),
        ("--stages 3 --help", 0),
        ("-h", 0),
        ("", 0),
    ],
)
def test_as_many_are_started_as_the_flags_or_the_default_say(monkeypatch, words, count):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert early_train._ranks(words.split()) == count
    monkeypatch.setenv("RANK", "0")
    assert early_train._ranks(words.split()) == 0


def test_no_setting_counts_as_misspelt():
    assert not early_train._misspelt([f"--{field.name}" for field in fields(TrainConfig)])


def test_an_interrupt_while_torch_is_imported_comes_after_it():
    imported = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)  # to this thread: a test process has others
        imported.append("all")
    assert imported == ["all"]


def test_none_is_started_where_the_command_is_called_among_others():
    assert early_train._ranks(["--stages", "2"]) == 0  # torch is here


USER = """
import os, time, torch
from pathlib import Path
from torch import nn
from torch.utils.data import TensorDataset

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(torch.randn(10, 4), torch.arange(10) % 3)

def waits():
    Path("waits").write_text("")
    time.sleep(3600)
"""


def command(folder, *arguments, through=()):
    """`pprs train` as a user starts it: a new interpreter, in a session of its own."""
    (folder / "user.py").write_text(USER)
    words = ["-m", "pprs", "train", "--model", "user.py:model", "--steps", "2", *arguments]
    return subprocess.Popen(
        [*through, sys.executable, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_command_trains_with_them_and_leaves_nothing(tmp_path, stages):
    process = command(tmp_path, "--data", "user.py:data", "--stages", str(stages))
    said, wrong = process.communicate(timeout=600)
    assert (process.returncode, wrong) == (0, "")
    assert "step 2 of 2" in said
    wait(lambda: not session(process.pid))


@pytest.mark.slow
def test_so_it_does_where_standard_output_is_closed(tmp_path):
    closing = ("sh", "-c", 'exec "$@" >&-', "sh")
    process = command(tmp_path, "--data", "user.py:data", through=closing)
    _, wrong = process.communicate(timeout=600)
    assert (process.returncode, wrong) == (0, "")
    wait(lambda: not session(process.pid))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_while_it_checks_ends_all(tmp_path, number):
    process = command(tmp_path, "--data", "user.py:waits", "--stages", "2")
    wait(lambda: (tmp_path / "waits").exists() or process.poll() is not None)
    assert len(session(process.pid)) > 2, process.communicate()
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # as Ctrl-C does
    _, said = process.communicate(timeout=600)
    if number == signal.SIGINT:
        assert (process.returncode, said) == (130, "pprs: interrupted\n")
    else:
        assert (process.returncode, said) == (-number, "")
    wait(lambda: not session(process.pid))


@pytest.mark.slow
def test_what_is_wrong_is_said_and_no_process_stays(tmp_path):
    process = command(tmp_path, "--data", "user.py:nothing", "--stages", "2")
    _, said = process.communicate(timeout=600)
    assert process.returncode == 2
    assert re.fullmatch(r"pprs: data=user.py:nothing: .*\n", said)
    wait(lambda: not session(process.pid))
