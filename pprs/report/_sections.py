"""What a report holds, before it becomes HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pprs.pipeline.trace import Shares, shares
from pprs.report._answer import answers
from pprs.report._figures import differing, final_figures
from pprs.report._lines import Method, main_name, methods_of, ranked
from pprs.report._runs import Run
from pprs.report._table import Table
from pprs.report._timeline import share_table

_FEW = 8  # methods that keep the order in which they were named


@dataclass(frozen=True)
class Sections:
    """A report.

    Args:
        title: of the whole.
        answers: sentences, the first thing to read.
        notes: what is missing or wrong, by run.
        methods: in the order of the legend and the tables; many are sorted, the best first.
        ranking: by what they are sorted, or nothing.
        figures: the final ones.
        differ: settings that differ.
        agree: settings that agree.
        trains: whether runs of `pprs train` are among them.
        traced: runs with a timeline, and the shares of its time.
    """

    title: str
    answers: list[str]
    notes: list[str]
    methods: list[Method]
    ranking: str | None
    figures: list[Table]
    differ: list[Table]
    agree: list[Table]
    trains: bool
    traced: list[tuple[Run, Table]]


def sections_of(runs: Sequence[Run]) -> Sections:
    """The report of some runs."""
    methods = methods_of(runs)
    found = [_shares(run) for run in runs]
    ranking = main_name(methods) if len(methods) > _FEW else None
    if ranking:
        methods = ranked(methods, ranking)
    differ, agree = differing(runs, methods)
    several = len(runs) > 1
    name = runs[0].name if not several else f"{len(runs)} runs"
    return Sections(
        title=name,
        answers=answers(runs, methods, found),
        notes=[f"{run.name}: {note}" if several else note for run in runs for note in run.notes],
        methods=methods,
        ranking=ranking,
        figures=final_figures(runs, methods),
        differ=differ,
        agree=agree,
        trains=any(run.kind == "train" for run in runs),
        traced=[
            (run, share_table(each, run.name if several else ""))
            for run, each in zip(runs, found, strict=True)
            if each is not None
        ],
    )


def _shares(run: Run) -> Shares | None:
    if run.read.timeline is None:
        return None
    try:
        return shares(run.read.timeline)
    except ValueError as error:
        run.notes.append(f"no shares of the timeline: {error}")
        return None
