"""A schedule as a table: a row for each device, a column for each unit of time."""

from __future__ import annotations

from pprs.theory.graph import Graph
from pprs.theory.makespan import timetable
from pprs.theory.orders import ScheduleName


def clock_table(
    graph: Graph, samples: int, schedule: ScheduleName = "gpipe", *, devices: int | None = None
) -> str:
    r"""What each device does in each unit of time.

    An entry is the kind of operation, F, B or W, and the number of the sample; where a device holds
    several nodes, the number of the node stands before it. A dot is a unit in which it waits.

    Args:
        graph: whose passes take whole units of time.
        samples: number K of passes, at least 1.
        schedule: as for `makespan`.
        devices: for interleaved only: number of devices, a divisor of the depth.

    Raises:
        ValueError: as `makespan`, or for operations that begin or end between two units.

    Example:
        >>> print(clock_table(Graph.chain(2), samples=3, schedule="1f1b"))
        F0 F1 .  B0 F2 B1 .  B2
        .  F0 B0 F1 B1 F2 B2 .
    """
    number = {name: i for i, name in enumerate(graph.order)}
    operations = timetable(graph, samples, schedule, devices=devices)
    if not all(t.is_integer() for each in operations for t in (each.start, each.end)):
        raise ValueError("a table needs operations that begin and end at whole units of time")
    end = max(int(each.end) for each in operations)
    rows = [["."] * end for _ in range(devices or len(number))]
    for each in operations:
        node = number[each.node]
        entry = f"{'' if devices is None else node}{each.kind}{each.sample}"
        for unit in range(int(each.start), int(each.end)):
            rows[node % len(rows)][unit] = entry
    width = max(len(entry) for row in rows for entry in row)
    return "\n".join(" ".join(entry.ljust(width) for entry in row).rstrip() for row in rows)
