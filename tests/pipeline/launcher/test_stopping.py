"""Runs that are asked to stop, and processes that stand still: real processes, real signals."""

import os
import re
import select
import signal
import sys
from pathlib import Path

import pytest
import warm
from waiting import wait

from pprs.pipeline.launcher import Stopping

pytestmark = [pytest.mark.dist, pytest.mark.slow]
if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)

SILENCE = 4.0


class Run:
    """A launcher and its two ranks, each behind a pidfd."""

    def __init__(self, folder):
        self.folder = folder
        script = Path(__file__).with_name("runs.py")
        self.process = warm.Started(str(script), str(folder), str(SILENCE))
        pids = [folder / f"pid-{rank}" for rank in (0, 1)]
        told = [lambda pid=pid: pid.exists() and pid.read_text() for pid in pids]
        wait(lambda: self.process.returncode is not None or all(each() for each in told))
        assert self.process.returncode is None, self.process.communicate()
        self.ranks = [int((folder / f"pid-{rank}").read_text()) for rank in (0, 1)]
        self.handles = [os.pidfd_open(pid) for pid in self.ranks]

    def ends(self):
        """Wait for the end of all processes; the launcher's exit code, and what it said."""
        _, said = self.process.communicate()
        for handle in self.handles:
            assert select.select([handle], [], [], 600)[0]
        return self.process.returncode, said

    def left(self):
        """The signal and the step at which the ranks left: the same for all."""
        (at,) = {(self.folder / f"left-{rank}").read_text() for rank in (0, 1)}
        received, step = re.fullmatch(r"<Signals\.(\w+): \d+> at (\d+)", at).groups()
        assert int(step) > 0
        return received


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    for handle in run.handles:
        if not select.select([handle], [], [], 0)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    run.process.kill()


def test_a_signal_to_the_launcher_lets_the_ranks_leave_at_the_same_step(run):
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.ends() == (128 + 15, "interrupted by SIGTERM; all ranks were stopped\n")
    assert run.left() == "SIGTERM"


def test_ctrl_c_reaches_all_ranks(run):
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.ends() == (128 + 2, "interrupted by SIGINT; all ranks were stopped\n")
    assert run.left() == "SIGINT"


def test_ranks_outlive_a_pause_and_leave_together_when_one_is_asked_to(run):
    os.kill(run.ranks[1], signal.SIGSTOP)
    select.select(run.handles, [], [], SILENCE / 3)  # the first notes the second's last sign
    os.kill(run.ranks[0], signal.SIGSTOP)
    select.select(run.handles, [], [], 1.25 * SILENCE)  # their clocks go on
    for pid in run.ranks:
        os.kill(pid, signal.SIGCONT)
        # The first looks at once, and finds that it has not heard of the second for too long.
        assert not select.select(run.handles, [], [], SILENCE / 3)[0]
    os.kill(run.ranks[1], signal.SIGTERM)
    assert run.ends() == (0, "")
    assert run.left() == "SIGTERM"


def test_no_rank_outlives_a_launcher_that_was_killed(run):
    run.process.kill()
    run.ends()
    assert run.left() == "SIGTERM"


def test_handlers_are_those_from_before_and_one_process_needs_no_group():
    before = signal.getsignal(signal.SIGTERM)
    with Stopping() as stopping:
        assert stopping.agreed() is None
        signal.raise_signal(signal.SIGTERM)
        assert stopping.agreed() is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
