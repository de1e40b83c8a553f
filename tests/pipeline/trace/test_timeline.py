"""Recorded runs of real processes, whose clocks differ by minutes; and their files."""

import json
import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from pipeline.trace.handmade import timeline_of
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
from pprs.pipeline.trace.timeline import Event, Timeline
from pprs.theory import Graph

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


@pytest.mark.parametrize("slow", [0, 1])
def test_a_delay_is_found_in_the_stage_that_has_it(recorded, slow):
    found = shares(recorded(f"slow {slow}"))
    delayed, other = found.stages[slow], found.stages[1 - slow]
    assert delayed.forward >= BUSY
    # Hundreds of times shorter when all goes well, so that a busy machine does no harm.
    assert other.forward < BUSY / 2
    assert delayed.share.busy > other.share.busy
    # The other has to wait for it at one end of the step, whatever the machine does.
    assert other.share.bubble * found.seconds > BUSY
    for part in found.ranks.values():
        assert sum(vars(part).values()) == pytest.approx(1)


def test_the_loss_counts_for_the_last_forward(recorded):
    first, last = shares(recorded("slow loss")).stages
    assert last.forward >= BUSY
    assert max(first.forward, last.backward) < BUSY / 2


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


@given(
    st.lists(st.tuples(st.integers(0, 10**14), st.integers(0, 10**12)), min_size=1, max_size=5),
    st.floats(0, 1),
)
@tries(50)
def test_times_survive_to_the_nanosecond(tmp_path_factory, times, uncertainty):
    events = (
        Event(0, 0, "wait", 0, i, start / 1e9, (start + length) / 1e9)
        for i, (start, length) in enumerate(times)
    )
    timeline = Timeline(tuple(events), "1f1b", 1, 1, uncertainty)
    file = tmp_path_factory.getbasetemp() / "times.json"
    timeline.save(file)
    assert Timeline.load(file) == timeline


def test_the_file_is_what_trace_viewers_read(tmp_path):
    timeline_of(Graph.chain(2), 2).save(tmp_path / "trace.json")
    written = json.loads((tmp_path / "trace.json").read_text())
    bars = [e for e in written["traceEvents"] if e["ph"] == "X"]
    assert len(bars) == 8
    first = {"ph": "X", "name": "F 1", "cat": "F", "pid": 1, "tid": 1, "ts": 2e6, "dur": 1e6}
    assert first | {"args": {"step": 0, "microbatch": 1}} in bars
    names = {
        (e["name"], e["pid"], e.get("tid")): e["args"]["name"]
        for e in written["traceEvents"]
        if e["ph"] == "M"
    }
    assert names == {
        ("process_name", 0, None): "rank 0",
        ("process_name", 1, None): "rank 1",
        ("thread_name", 0, 0): "stage 0",
        ("thread_name", 1, 1): "stage 1",
    }


def refusal(content, folder):
    file = folder / "broken.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is no timeline: ") as caught:
        Timeline.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is no timeline: ")
    assert "\n" not in message
    return message


SMALL = timeline_of(Graph.chain(2), 1)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    file = tmp_path_factory.mktemp("small") / "small.json"
    SMALL.save(file)
    assert Timeline.load(file) == SMALL
    return file.read_bytes()


@given(st.data())
@tries(100)
def test_a_file_cut_off_anywhere_is_refused(content, tmp_path_factory, data):
    length = data.draw(st.integers(0, len(content) - 1))
    assert "not JSON" in refusal(content[:length], tmp_path_factory.getbasetemp())


def paths(value, prefix=()):
    """Where all fields are that a timeline needs."""
    if isinstance(value, dict) and value.get("ph") != "M":
        for key, inner in value.items():
            if key not in ("displayTimeUnit", "name"):
                yield (*prefix, key)
                yield from paths(inner, (*prefix, key))
    if isinstance(value, list):
        for i, inner in enumerate(value):
            yield from paths(inner, (*prefix, i))


def at(written, path):
    for key in path[:-1]:
        written = written[key]
    return written, path[-1]


@given(st.data())
@tries(150)
def test_a_file_without_one_of_its_fields_is_refused(content, tmp_path_factory, data):
    written = json.loads(content)
    path = data.draw(st.sampled_from(list(paths(written))))
    inside, key = at(written, path)
    del inside[key]
    message = refusal(json.dumps(written).encode(), tmp_path_factory.getbasetemp())
    assert f"lacks '{key}'" in message


@given(st.data())
@tries(150)
def test_a_field_of_another_type_is_refused(content, tmp_path_factory, data):
    written = json.loads(content)
    path = data.draw(st.sampled_from(list(paths(written))))
    inside, key = at(written, path)
    inside[key] = data.draw(st.sampled_from([None, True, float("nan"), -1.5, 10**30, [None], {}]))
    if key in ("traceEvents", "args", "otherData") and inside[key] == {}:
        inside[key] = "nothing"
    if (key, inside[key]) in (("ts", -1.5), ("step", 10**30)):  # odd, not wrong
        inside[key] = float("inf")
    refusal(json.dumps(written).encode(), tmp_path_factory.getbasetemp())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "the file must be an object, got list"),
        (b"{}", "the file lacks 'otherData'"),
        (b'{"otherData": {"format": "else"}}', "its format must be 'pprs timeline 1', got 'else'"),
        (b'{"otherData": {"format": "pprs timeline 1"}, "traceEvents": [3]}', "an event must be"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, content, reason):
    assert reason in refusal(content, tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read .*absent.json: No such file"):
        Timeline.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": -1}, "rank must be an integer of at least 0, got -1"),
        ({"stage": True}, "stage must be an integer of at least 0, got True"),
        ({"kind": "X"}, "kind must be one of F, B, I, W, wait; got 'X'"),
        ({"start": float("nan")}, "start must be a finite number, got nan"),
        ({"end": 0.5}, "end must be at least start=1.0, got 0.5"),
    ],
)
def test_an_event_outside_its_ranges_is_refused(change, message):
    event = Event(0, 0, "F", 0, 0, 1.0, 2.0)
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(event, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": ()}, "events must hold at least one event"),
        ({"stages": 1}, "stages must be 2, as in the events, got 1"),
        ({"microbatches": 3}, "microbatches must be 1, as in the events, got 3"),
        ({"microbatches": 0}, "microbatches must be an integer of at least 1, got 0"),
        ({"uncertainty": -1.0}, "uncertainty must be a finite number of at least 0"),
        ({"events": (replace(SMALL.events[1], rank=2),)}, "rank must be below stages=2.*: got 2"),
        ({"events": SMALL.events * 2}, "F 0 of stage 0 in step 0 is there twice"),
    ],
)
def test_a_timeline_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_a_step_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="step must be one of the timeline's, 0 to 0, got 7"):
        SMALL.operations(7)
