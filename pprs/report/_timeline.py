"""A recorded step as lanes of bars, and the shares of the recorded time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from html import escape

from pprs.pipeline.trace import Event, Shares, Timeline
from pprs.report._table import Table, seconds

WORDS = {
    "F": "forward",
    "B": "backward",
    "I": "backward, input part",
    "W": "backward, weight part",
    "wait": "waits for an input",
}
_LANES = 64
_WIDTH, _HEIGHT = 2000, 24  # units of a lane's picture; a bar is at least one wide


def lanes(timeline: Timeline) -> str:
    """HTML of the last step: a lane for each rank, and in it a path for each kind of event.

    Bars that would be too narrow to see are drawn together, so the size does not grow with them.
    """
    step = timeline.steps[-1]
    events = [e for e in timeline.events if e.step == step]
    # As in `pprs trace`, a step begins with its first operation; a wait before it is cut off.
    operations = timeline.operations(step) or events
    start, end = min(e.start for e in operations), max(e.end for e in operations)
    of: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        of[event.rank].append(event)
    rows = [_lane(rank, of[rank], start, end) for rank in sorted(of)[:_LANES]]
    kinds = [kind for kind in WORDS if any(e.kind == kind for e in events)]
    key = "".join(f'<li><i class="k-{kind}"></i>{WORDS[kind]}</li>' for kind in kinds)
    left = f"<p>The first {_LANES} of {len(of)} ranks.</p>" if len(of) > _LANES else ""
    return (
        f'<ul class="key">{key}</ul><div class="lanes">{"".join(rows)}'
        f'<span></span><span class="ends"><span>0</span><span>{seconds(end - start)}</span></span>'
        f"</div>{left}"
    )


def share_table(found: Shares, title: str) -> Table:
    """What the recorded steps' time went into, by rank."""
    rows = [[f"rank {rank}", *share.in_percent()] for rank, share in found.ranks.items()]
    words = (
        f"A step takes {seconds(found.seconds)} (median of {len(found.steps)}); its operations "
        f"alone, in the same order, {seconds(found.ideal)}: efficiency {found.efficiency:.0%}. "
        f"Busy: forwards and backwards, drawing the noise among them. Bubble: no input exists yet, "
        f"or nothing is left to do. Communication: waiting for an input that exists elsewhere."
    )
    return Table(["", "busy", "bubble", "communication", "other"], rows, words, title)


def _lane(rank: int, events: list[Event], start: float, end: float) -> str:
    stages = sorted({e.stage for e in events})
    height = _HEIGHT // len(stages) or 1
    scale = _WIDTH / ((end - start) or 1.0)
    paths = []
    for kind in ("wait", "F", "B", "I", "W"):  # what waits is below what works
        bars = "".join(
            _bars(
                (e for e in events if e.kind == kind and e.stage == stage),
                start, scale, stages.index(stage) * height, height,
            )
            for stage in stages
        )  # fmt: skip
        if bars:
            paths.append(f'<path class="k-{kind}" d="{bars}"/>')
    name = escape(f"rank {rank}")
    return (
        f'<span>{name}</span><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{name} in the last recorded step">{"".join(paths)}</svg>'
    )


def _bars(events: Iterable[Event], start: float, scale: float, top: int, height: int) -> str:
    """Rectangles from left to right; those that touch within a unit are one."""
    spans: list[list[int]] = []
    for e in sorted(events, key=lambda e: e.start):
        left, right = round((e.start - start) * scale), round((e.end - start) * scale)
        left = min(max(left, 0), _WIDTH)
        right = min(max(right, left), _WIDTH)
        if spans and left <= spans[-1][1] and (right - left < 2 or spans[-1][1] - spans[-1][0] < 2):
            spans[-1][1] = max(spans[-1][1], right)
        else:
            spans.append([left, max(right, left + 1)])
    # A white edge tells neighbours apart where there is room for it.
    return "".join(
        f"M{left} {top}h{max(1, right - left - (2 if right - left > 8 else 0))}v{height}H{left}z"
        for left, right in spans
    )
