"""Timelines made from the timetables of pprs.theory, in which nothing is left to chance."""

from pprs.pipeline.trace.timeline import Event, Timeline
from pprs.theory import timetable


def timeline_of(graph, samples, schedule="gpipe", *, devices=None, steps=1, **options):
    """Steps that follow a timetable exactly; ranks are its devices."""
    ranks = devices or len(graph.nodes)
    table = timetable(graph, samples, schedule, devices=devices, **options)
    place = {name: stage for stage, name in enumerate(graph.order)}
    kinds = {"B": "I"} if schedule == "zero-bubble" else {}
    span = max(o.end for o in table)
    events = [
        Event(
            place[o.node] % ranks,
            place[o.node],
            kinds.get(o.kind, o.kind),
            o.sample,
            step,
            o.start + 2 * span * step,
            o.end + 2 * span * step,
        )
        for step in range(steps)
        for o in table
    ]
    return Timeline(tuple(events), schedule, len(graph.nodes), samples, 0.0)
