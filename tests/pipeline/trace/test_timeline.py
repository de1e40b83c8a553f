"""The file of a timeline: what is saved is loaded, and nothing else is."""

import json
import re
from dataclasses import replace

import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from pipeline.trace.handmade import timeline_of

from pprs.pipeline.trace.timeline import Event, Timeline
from pprs.theory import Graph


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
