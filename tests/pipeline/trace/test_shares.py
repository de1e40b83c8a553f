from dataclasses import replace

import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from pipeline.trace.handmade import timeline_of

from pprs.pipeline.trace.shares import Share, shares
from pprs.theory import Graph, makespan


def parts(share):
    return share.busy, share.bubble, share.communication, share.other


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("depth", "samples"), [(1, 3), (2, 2), (4, 8), (7, 7)])
def test_a_perfect_step_has_efficiency_one_and_the_bubble_of_the_theory(schedule, depth, samples):
    found = shares(timeline_of(Graph.chain(depth, 0.25, 0.5), samples, schedule))
    assert found.efficiency == pytest.approx(1)
    assert found.seconds == pytest.approx(0.75 * (samples + depth - 1))
    bubble = (depth - 1) / (samples + depth - 1)
    for s in found.stages:
        assert parts(s.share) == pytest.approx((1 - bubble, bubble, 0, 0))
        assert (s.forward, s.backward) == pytest.approx((0.25, 0.5))
        assert found.ranks[s.rank] == s.share


def test_latency_is_communication_and_costs_efficiency():
    # Stage 1 waits for one forward and one message, then stage 0 for a backward and a message.
    f, b, latency, samples = 1.0, 2.0, 0.5, 4
    found = shares(timeline_of(Graph.chain(2, f, b, latency), samples))
    span = (samples + 1) * (f + b) + 2 * latency
    assert found.seconds == pytest.approx(span)
    assert found.ideal == pytest.approx(span - 2 * latency)
    first, last = (parts(s.share) for s in found.stages)
    assert last == pytest.approx([x / span for x in (12, f + b + latency, latency, 0)])
    assert first == pytest.approx([x / span for x in (12, f + b + latency, latency, 0)])


@pytest.mark.parametrize("slow", range(3))
def test_a_slow_stage_is_the_busy_one_and_the_others_wait_for_it(slow):
    forward = [1.0, 1.0, 1.0]
    forward[slow] = 5.0
    found = shares(timeline_of(Graph.chain(3, forward, 1.0), 6))
    assert found.efficiency == pytest.approx(1)  # it is how the network is cut, not how it runs
    for s in found.stages:
        assert s.forward == pytest.approx(forward[s.stage])
        busy = 6 * (forward[s.stage] + 1) / found.seconds
        assert parts(s.share) == pytest.approx((busy, 1 - busy, 0, 0))


def test_one_slow_microbatch_shows_in_the_time_and_not_in_the_ideal():
    timeline = timeline_of(Graph.chain(2), 4)
    events = [
        replace(e, end=e.end + 3) if (e.kind, e.stage, e.microbatch) == ("B", 0, 3) else e
        for e in timeline.events
    ]
    found = shares(replace(timeline, events=tuple(events)))
    assert (found.seconds, found.ideal) == pytest.approx((13, 10))
    assert [s.share.busy for s in found.stages] == pytest.approx([11 / 13, 8 / 13])


def test_the_engine_between_operations_of_a_rank_is_other():
    timeline = timeline_of(Graph.chain(1), 2)
    events = [
        replace(e, start=e.start + 1, end=e.end + 1) if e.kind == "B" else e
        for e in timeline.events
    ]
    found = shares(replace(timeline, events=tuple(events)))
    assert parts(found.ranks[0]) == pytest.approx((0.8, 0, 0, 0.2))


costs = st.floats(0.1, 10.0)


@st.composite
def cases(draw):
    """A chain of any costs, a schedule that runs on it, and its options."""
    schedule = draw(st.sampled_from(["gpipe", "1f1b", "zero-bubble", "interleaved"]))
    devices = draw(st.integers(1, 3)) if schedule == "interleaved" else None
    depth = devices * draw(st.integers(1, 3)) if devices else draw(st.integers(1, 5))
    samples = devices * draw(st.integers(1, 3)) if devices else draw(st.integers(1, 6))
    each = st.lists(costs, min_size=depth, max_size=depth)
    latency = draw(st.floats(0, 5))
    share = {"weight_share": draw(st.floats(0.1, 0.9))} if schedule == "zero-bubble" else {}
    forward, backward = draw(each), draw(each)
    return forward, backward, latency, samples, schedule, devices, share


@given(cases())
@tries(150)
def test_the_ideal_is_the_makespan_of_the_theory_without_latency(case):
    forward, backward, latency, samples, schedule, devices, share = case
    graph = Graph.chain(len(forward), forward, backward, latency)
    free = Graph.chain(len(forward), forward, backward)
    found = shares(timeline_of(graph, samples, schedule, devices=devices, steps=2, **share))
    assert found.steps == (1,)
    expected = makespan(free, samples, schedule, devices=devices, **share)
    assert found.ideal == pytest.approx(expected)
    whole = makespan(graph, samples, schedule, devices=devices, **share)
    assert found.seconds == pytest.approx(whole)
    for share in found.ranks.values():
        assert sum(parts(share)) == pytest.approx(1)
        assert min(parts(share)) >= 0
    for rank, share in found.ranks.items():
        mine = [s for s in found.stages if s.rank == rank]
        total = samples * sum(forward[s.stage] + backward[s.stage] for s in mine)
        assert share.busy * whole == pytest.approx(total)
        held = zip(*(parts(s.share) for s in mine), strict=True)
        assert parts(share) == pytest.approx([sum(part) for part in held])


def test_halves_of_a_backward_count_together():
    found = shares(timeline_of(Graph.chain(3, 1, 2), 4, "zero-bubble", weight_share=0.25))
    assert [s.backward for s in found.stages] == pytest.approx([2] * 3)


def test_the_first_step_warms_up_unless_it_is_asked_for_or_the_only_one():
    timeline = timeline_of(Graph.chain(2), 2, steps=3)
    slow = [replace(e, end=e.end + 9) if e.step == 0 and e.end == 6 else e for e in timeline.events]
    timeline = replace(timeline, events=tuple(slow))
    assert (shares(timeline).steps, shares(timeline).seconds) == ((1, 2), pytest.approx(6))
    assert (shares(timeline, [0]).steps, shares(timeline, [0]).seconds) == ((0,), 15)
    only = replace(timeline, events=tuple(e for e in slow if e.step == 0))
    assert shares(only).steps == (0,)


def test_clocks_that_disagree_give_no_negative_share():
    timeline = timeline_of(Graph.chain(2), 3)
    early = [
        replace(e, start=e.start - 0.25, end=e.end - 0.25) if e.rank else e for e in timeline.events
    ]
    for share in shares(replace(timeline, events=tuple(early))).ranks.values():
        assert min(parts(share)) >= 0
        assert sum(parts(share)) == pytest.approx(1)


def test_a_step_that_lacks_an_operation_is_refused():
    timeline = timeline_of(Graph.chain(2), 2, "zero-bubble", steps=2)
    missing = [
        e for e in timeline.events if (e.kind, e.stage, e.microbatch, e.step) != ("W", 1, 0, 1)
    ]
    with pytest.raises(ValueError, match="step 1 lacks W 0 of stage 1"):
        shares(replace(timeline, events=tuple(missing)))


def test_steps_that_cannot_be_looked_at_are_refused():
    timeline = timeline_of(Graph.chain(2), 2)
    with pytest.raises(ValueError, match="step must be one of the timeline's, 0 to 0, got 4"):
        shares(timeline, [4])
    with pytest.raises(ValueError, match="at least one step"):
        shares(timeline, [])
    empty = replace(timeline, events=tuple(replace(e, start=0.0, end=0.0) for e in timeline.events))
    with pytest.raises(ValueError, match="take no time"):
        shares(empty)


def test_an_order_that_waits_for_itself_is_refused():
    timeline = timeline_of(Graph.chain(2), 1)
    swapped = {"F": "B", "B": "F"}
    events = [replace(e, kind=swapped[e.kind]) if e.rank else e for e in timeline.events]
    with pytest.raises(ValueError, match="wait for each other in a circle"):
        shares(replace(timeline, events=tuple(events)))


def test_shares_add_up():
    assert Share(0.1, 0.2, 0.3, 0.4) + Share(1, 2, 3, 4) == Share(1.1, 2.2, 3.3, 4.4)
