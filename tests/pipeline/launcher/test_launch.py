"""Ranks that fail, and start again: real processes, real signals."""

import os
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pprs.pipeline import LaunchError, LaunchInterrupted, launch
from pprs.pipeline.launcher import check_same, report_progress, restarts

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def fails(hows, folder):
    """In each attempt rank 1 fails in another way; at the end it does not."""
    rank = dist.get_rank()
    Path(folder, f"pid-{restarts()}-{rank}").write_text(str(os.getpid()))
    report_progress([rank, rank + 2], 7)
    dist.barrier()
    how = [*hows, "not at all"][restarts()]
    if rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "left":
            os._exit(3)
    dist.all_reduce(torch.ones(1))  # waits for the rank that is gone
    Path(folder, f"done-{rank}").write_text(str(restarts()))


def differs(folder):
    """All ranks write what they are told about their settings; then rank 1 fails."""
    rank = dist.get_rank()
    Path(folder, f"pid-{rank}").write_text(str(os.getpid()))
    check_same({"lr": 0.1, "law": ("normal", 2)})
    said = []
    for settings in ({"sigma": 0.1 + 0.1 * rank}, {"only": 2} if rank else {}):
        try:
            check_same({"lr": 1, **settings})
        except ValueError as error:
            said.append(str(error))
    Path(folder, f"said-{rank}").write_text("\n".join(said))
    dist.barrier()
    report_progress([1, 3], 7)
    if rank == 1:
        raise ArithmeticError("no such step")
    dist.all_reduce(torch.ones(1))


def gone(folder):
    """Whether all processes that wrote their number there have ended."""
    pids = [int(path.read_text()) for path in Path(folder).glob("pid-*")]
    assert pids
    return not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_ranks_start_again_after_a_kill_and_go_on(cold, tmp_path, capfd):
    launch(fails, 2, ["killed"], str(tmp_path), max_restarts=1)
    assert {p.name: p.read_text() for p in tmp_path.glob("done*")} == {"done-0": "1", "done-1": "1"}
    where = r"rank 1 \(of 2, process \d+; stages 1 and 3, step 7\)"
    said = rf"{where} was killed by SIGKILL; starting again \(restart 1 of 1\)\n"
    assert re.fullmatch(said, capfd.readouterr().err)
    assert gone(tmp_path)


def test_a_rank_that_is_stopped_ends_all_when_restarts_are_used_up(tmp_path, capfd):
    silent = r"rank 1 \(stages 1 and 3, step 7\) has sent no heartbeat for 3 s"
    with pytest.raises(LaunchError, match=rf"^{silent}; all ranks were stopped$"):
        launch(
            fails, 2, ["left", "stopped"], str(tmp_path), max_restarts=1, silence=3, grace=1
        )  # fmt: skip
    assert re.fullmatch(
        r"rank 1 \(of 2, process \d+; stages 1 and 3, step 7\) left with exit code 3; "
        r"starting again \(restart 1 of 1\)\n",
        capfd.readouterr().err,
    )
    assert gone(tmp_path)


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """The folder of a run that failed, and how."""
    folder = tmp_path_factory.mktemp("failed")
    with pytest.raises(LaunchError) as caught:
        launch(differs, 2, str(folder))
    return folder, str(caught.value)


def test_an_exception_is_shown_with_its_stack(failed):
    folder, said = failed
    who = r"rank 1 \(of 2, process \d+; stages 1 and 3, step 7\)"
    message = rf"{who} failed with ArithmeticError: no such step; all ranks were stopped"
    assert re.match(message + r"\. Its stack:(.|\n)*in differs", said)
    assert gone(folder)


def test_settings_that_differ_are_named_on_all_ranks(failed):
    said = {path.read_text() for path in failed[0].glob("said-*")}
    same = "all ranks must be started with the same settings"
    assert said == {
        f"rank 1 has sigma=0.2, but rank 0 has sigma=0.1: {same}\n"
        f"rank 1 has only=2, but rank 0 has no only: {same}"
    }


@pytest.fixture
def joined(monkeypatch):
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "3",
        "LOCAL_WORLD_SIZE": "1000",  # one thread for each rank
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_torchrun_with_another_number_of_processes_is_refused(joined):
    with pytest.raises(
        ValueError, match="torchrun started 3 processes.*need 2: .*--nproc-per-node 2"
    ):
        launch(fails, 2, [], "")


def test_a_port_in_use_is_named(joined):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        joined.setenv("MASTER_PORT", str(port))
        message = rf"rank 0 cannot listen on .*\(127.0.0.1:{port}\): the port is in use; choose"
        with pytest.raises(LaunchError, match=message):
            launch(fails, 3, [], "")


def test_a_rank_that_cannot_reach_the_first_says_so(joined):
    joined.setattr("pprs.pipeline.launcher.rank.MEETING_SECONDS", 0.5)
    joined.setenv("RANK", "2")
    message = r"rank 2 cannot reach .* \(127.0.0.1:1\) within 0.5 s: rank 0 must be started"
    with pytest.raises(LaunchError, match=message):
        launch(fails, 3, [], "")


def test_ranks_that_never_come_to_the_meeting_are_named(joined):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    joined.setattr("pprs.pipeline.launcher.rank.MEETING_SECONDS", 0.5)
    joined.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    joined.setenv("MASTER_PORT", str(store.port))
    with pytest.raises(LaunchError, match=r"^rank 0 has waited 0.5 s for ranks 1, 2: each must"):
        launch(fails, 3, [], "")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_restarts": -1}, "max_restarts must be at least 0, got -1"),
        ({"grace": -1.0}, "grace must be at least 0 seconds, got -1.0"),
        ({"silence": 0.0}, "silence must be more than 0 seconds, got 0.0"),
    ],
)
def test_an_option_out_of_its_range_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        launch(fails, 2, [], "", **option)


if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)


def leaves(how, leaver):
    dist.barrier()
    if dist.get_rank() == leaver:
        how(0)
    dist.all_reduce(torch.ones(1))


@pytest.mark.parametrize("how", [os._exit, sys.exit], ids=["at once", "by an exception"])
def test_a_rank_that_leaves_before_its_end_has_failed_whatever_its_exit_code(how):
    why = r"^rank 0 \(of 1, process \d+\) left with exit code 0, before it had done its work; all"
    with pytest.raises(LaunchError, match=why):
        launch(leaves, 1, how, 0)


def test_it_is_named_and_not_those_that_wait_for_it():
    with pytest.raises(LaunchError, match=r"^rank 1 \(of 2, .* left with exit code 0, before"):
        launch(leaves, 2, os._exit, 1)


def misses():
    raise LaunchError("rank 0 has waited")


def test_what_the_launcher_says_itself_has_no_stack():
    with pytest.raises(
        LaunchError, match="LaunchError: rank 0 has waited; all ranks were stopped$"
    ):
        launch(misses, 1)


def idles(seconds):
    time.sleep(seconds)


def test_a_signal_that_other_code_catches_while_ranks_start_ends_the_launch(monkeypatch):
    launching = sys.modules["pprs.pipeline.launcher.launch"]  # the function has its name
    own = launching.OneMachine

    def careless():
        with suppress(Exception):  # as imports that may fail do
            signal.raise_signal(signal.SIGINT)
        return own()

    monkeypatch.setattr(launching, "OneMachine", careless)
    with pytest.raises(LaunchInterrupted) as raised:
        launch(idles, 1, 60)
    assert raised.value.signal == signal.SIGINT
