"""Timelines as text, without the classes that would check them."""

import json


def long_trace(events, steps=4, ranks=8):
    """So many events in a few long steps of GPipe, each pass a microsecond or so."""
    microbatches = events // (2 * ranks * steps)
    entries = [
        {
            "ph": "X", "cat": kind, "pid": stage, "tid": stage, "dur": 1.0,
            "ts": 4.0 * microbatches * step + (m + stage if kind == "F" else
                                               2 * microbatches + m + 2 * ranks - stage),
            "args": {"step": step, "microbatch": m},
        }
        for step in range(1, steps + 1)
        for stage in range(ranks)
        for kind in "FB"
        for m in range(microbatches)
    ]  # fmt: skip
    data = {
        "format": "pprs timeline 1", "schedule": "gpipe", "stages": ranks,
        "microbatches": microbatches, "uncertainty": 0.0,
    }  # fmt: skip
    # What is left over are waits, which are no operations.
    wait = {"ph": "X", "cat": "wait", "pid": 0, "tid": 0, "dur": 0.0, "ts": 0.0}
    left = [{**wait, "args": {"step": 1, "microbatch": 0}}] * (events - len(entries))
    return json.dumps({"traceEvents": entries + left, "otherData": data})
