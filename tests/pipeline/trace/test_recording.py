"""Recorded runs of real processes, whose clocks differ by minutes."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import (
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleavedZeroBubble,
    ScheduleZBVZeroBubble,
)
from torch.nn.functional import mse_loss

from pprs.pipeline import launch
from pprs.pipeline.trace.clocks import Clock, Reading, compare
from pprs.pipeline.trace.recorder import Recorder, gather
from pprs.pipeline.trace.shares import shares
from pprs.pipeline.trace.stopwatch import stopwatch
from pprs.pipeline.trace.timed_stage import TimedStage
from pprs.pipeline.trace.timeline import Timeline

pytestmark = [pytest.mark.dist, pytest.mark.slow]
RANKS, STEPS, MICROBATCHES, WIDTH = 2, 3, 4, 16


AHEAD = 1000.0  # seconds by which the clock of rank 1 is ahead


BUSY = 0.05  # seconds


ENGINES = {
    "gpipe": ScheduleGPipe,
    "1f1b": Schedule1F1B,
    "zero-bubble": ScheduleInterleavedZeroBubble,
    "zb-v": ScheduleZBVZeroBubble,
}


SPLIT = {"zero-bubble", "zb-v"}


class Slow(nn.Module):
    """Takes a while, and no core."""

    def __init__(self, layer, seconds):
        super().__init__()
        self.layer, self.seconds = layer, seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return self.layer(x)


def record(name, slow=None, timed=True):
    rank = dist.get_rank()
    numbers = [rank, 2 * RANKS - 1 - rank] if name == "zb-v" else [rank]
    total = RANKS * len(numbers)
    recorder = Recorder(steps=STEPS)
    parts = [Slow(nn.Linear(WIDTH, WIDTH), BUSY if i == slow else 0.0) for i in numbers]
    stages = [
        TimedStage(part, i, total, torch.device("cpu"), recorder=recorder)
        for part, i in zip(parts, numbers, strict=True)
    ]
    loss = recorder.timed_loss(slow_loss if slow == "loss" else mse_loss)
    single = name in ("gpipe", "1f1b")
    engine = ENGINES[name](stages[0] if single else stages, MICROBATCHES, loss_fn=loss)
    x = torch.ones(MICROBATCHES, WIDTH)
    inputs, last = (x,) if 0 in numbers else (), total - 1 in numbers
    for step in range(STEPS + 1):  # the first of them is not kept
        engine.step(*inputs, target=x if last else None)
        if single and step == 1:
            engine.eval(*inputs, target=x if last else None)
    return gather(recorder, name)


def slow_loss(output, target):
    time.sleep(BUSY)
    return mse_loss(output, target)


def worker(folder):
    ahead = AHEAD * dist.get_rank()
    counter, counter_ns = time.perf_counter, time.perf_counter_ns
    time.perf_counter = lambda: counter() + ahead
    time.perf_counter_ns = lambda: counter_ns() + round(ahead * 1e9)
    readings = [None] * RANKS
    dist.all_gather_object(readings, compare())
    timelines = {name: record(name) for name in ENGINES}
    timelines |= {f"slow {slow}": record("gpipe", slow) for slow in (0, 1, "loss")}
    if dist.get_rank() == 0:
        assert all(timeline is not None for timeline in timelines.values())
        for name, timeline in timelines.items():
            timeline.save(Path(folder, f"{name}.json"))
        Path(folder, "readings").write_text(json.dumps([vars(r) for r in readings]))
    else:
        assert set(timelines.values()) == {None}
        with pytest.raises(ValueError, match="steps must be an integer"):
            Recorder(steps=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timelines")
    launch(worker, RANKS, str(folder))
    return folder


@pytest.fixture
def recorded(folder):
    return lambda name: Timeline.load(folder / f"{name}.json")


@pytest.mark.parametrize("name", ENGINES)
def test_every_operation_is_there_once_in_each_of_the_last_steps(recorded, name):
    timeline = recorded(name)
    stages = 4 if name == "zb-v" else 2
    assert timeline.schedule == name
    assert (timeline.stages, timeline.microbatches) == (stages, MICROBATCHES)
    assert timeline.ranks == (0, 1)
    assert timeline.steps == (1, 2, 3)
    kinds = ("F", "I", "W") if name in SPLIT else ("F", "B")
    expected = {(k, s, m) for k in kinds for s in range(stages) for m in range(MICROBATCHES)}
    for step in timeline.steps:
        there = [(e.kind, e.stage, e.microbatch) for e in timeline.operations(step)]
        assert len(there) == len(expected)
        assert set(there) == expected


def violation(timeline):
    """The most seconds by which an operation starts before what it needs has ended."""
    done = {
        ("B" if e.kind == "I" else e.kind, e.stage, e.microbatch, e.step): e
        for e in needed(timeline)
    }
    late = [0.0]
    for (kind, stage, *which), e in done.items():
        if kind == "F" and stage:
            late.append(done["F", stage - 1, *which].end - e.start)
        if kind == "B" and stage < timeline.stages - 1:
            late.append(done["B", stage + 1, *which].end - e.start)
        if kind == "B":
            late.append(done["F", stage, *which].end - e.start)
        if kind == "W":
            late.append(done["B", stage, *which].end - e.start)
    return max(late)


def needed(timeline):
    return [e for step in timeline.steps for e in timeline.operations(step)]


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_starts_before_what_it_needs_has_ended(recorded, name):
    timeline = recorded(name)
    assert 0 < timeline.uncertainty < AHEAD / 200
    assert violation(timeline) <= timeline.uncertainty
    # A clock that is off by a hundredth of what was corrected is noticed.
    events = (
        replace(e, start=e.start + s, end=e.end + s)
        for e in timeline.events
        for s in [AHEAD / 100 if e.rank else 0.0]
    )
    assert violation(replace(timeline, events=tuple(events))) > timeline.uncertainty


@pytest.mark.parametrize("name", ENGINES)
def test_no_rank_does_two_things_at_once(recorded, name):
    timeline = recorded(name)
    for rank in timeline.ranks:
        mine = sorted(
            (e for e in timeline.events if e.rank == rank), key=lambda e: (e.start, e.end)
        )
        for before, after in pairwise(mine):
            assert before.end <= after.start


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "zero-bubble"])
def test_each_input_from_another_rank_is_waited_for_up_to_its_use(recorded, name):
    timeline = recorded(name)
    waits = [e for e in timeline.events if e.kind == "wait"]
    assert len(waits) == STEPS * 2 * MICROBATCHES
    for wait in waits:
        kinds = "F" if wait.stage == 1 else "BI"  # only stage 1 receives inputs, stage 0 gradients
        (use,) = (
            e
            for e in timeline.operations(wait.step)
            if (e.kind in kinds, e.stage, e.microbatch) == (True, wait.stage, wait.microbatch)
        )
        assert use.start == wait.end


def test_stages_on_one_rank_do_not_wait_for_each_other(recorded):
    waits = {e.stage for e in recorded("zb-v").events if e.kind == "wait"}
    received = {0: "gradients", 1: "inputs", 2: "gradients", 3: "inputs"}
    assert waits == set(received)
    for stage in received:
        one = [e for e in recorded("zb-v").events if (e.kind, e.stage) == ("wait", stage)]
        assert len(one) == STEPS * MICROBATCHES


def shortest(timeline, kind, stage):
    """Seconds: of several, since a busy machine makes some operations longer, but not all."""
    return min(e.end - e.start for e in needed(timeline) if (e.kind, e.stage) == (kind, stage))


@pytest.mark.parametrize("slow", [0, 1])
def test_a_delay_is_found_in_the_stage_that_has_it(recorded, slow):
    timeline = recorded(f"slow {slow}")
    found = shares(timeline)
    delayed, other = found.stages[slow], found.stages[1 - slow]
    assert delayed.forward >= BUSY
    assert shortest(timeline, "F", 1 - slow) < BUSY / 2
    assert delayed.share.busy > other.share.busy
    # The other has to wait for it at one end of the step, whatever the machine does.
    assert other.share.bubble * found.seconds > BUSY
    for part in found.ranks.values():
        assert sum(vars(part).values()) == pytest.approx(1)


def test_the_loss_counts_for_the_last_forward(recorded):
    timeline = recorded("slow loss")
    assert shares(timeline).stages[1].forward >= BUSY
    assert max(shortest(timeline, "F", 0), shortest(timeline, "B", 1)) < BUSY / 2


def test_the_comparison_of_clocks_is_right_within_its_uncertainty(folder):
    first, second = json.loads((folder / "readings").read_text())
    assert (first["offset"], first["uncertainty"]) == (0, 0)
    # Processes on one machine share a clock, so what was added to it is all the difference.
    assert abs(second["offset"] + AHEAD) <= second["uncertainty"] < AHEAD / 200


def test_a_clock_that_drifts_is_right_at_both_ends_and_between():
    clock = Clock(Reading(10.0, 5.0, 1e-5), Reading(20.0, 5.5, 3e-5))
    assert [clock.common(t) for t in (10, 15, 20)] == [15.0, 20.25, 25.5]
    assert clock.uncertainty == 3e-5
    assert Clock(clock.first, clock.first).common(12.0) == 17.0


def test_stamps_of_a_gpu_are_placed_on_the_clock_of_the_host(monkeypatch):
    now = SimpleNamespace(host=100.0)

    class FakeEvent:
        """A device whose clock began at 100 s and is fast by one part in a thousand."""

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            self.at = (now.host - 100.0) * 1.001

        def synchronize(self):
            now.host += 2e-5

        def elapsed_time(self, other):
            return 1e3 * (other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(time, "perf_counter", lambda: now.host)
    watch = stopwatch(torch.device("cuda", 0))
    stamps = []
    for now.host in (101.0, 150.0, 199.0):
        stamps.append(watch.now())
    now.host = 200.0
    watch.finish()
    assert watch.uncertainty == pytest.approx(1e-5)
    for stamp, host in zip(stamps, (101.0, 150.0, 199.0), strict=True):
        assert watch.seconds(stamp) == pytest.approx(host, abs=2 * watch.uncertainty)


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_saved_is_loaded(recorded, tmp_path, name):
    timeline = recorded(name)
    timeline.save(tmp_path / "again.json")
    assert Timeline.load(tmp_path / "again.json") == timeline
