"""The report as Markdown: all but the pictures."""

from __future__ import annotations

from collections.abc import Iterator

from pprs import __version__
from pprs.report._sections import Sections
from pprs.report._table import Table
from pprs.report._words import MARK, markdown


def as_markdown(report: Sections, html: str) -> str:
    """The page; `html` is the name of the file with the curves."""
    return "\n".join(_lines(report, html)).rstrip() + "\n"


def _lines(report: Sections, html: str) -> Iterator[str]:
    yield f"<!-- {MARK} -->\n# {markdown(report.title)}\n"
    for answer in report.answers:
        yield f"{markdown(answer)}\n"
    if report.notes:
        yield "## What was found wrong\n"
        yield from (f"- {markdown(note)}" for note in report.notes)
        yield ""
    if report.figures:
        yield "## Final figures\n"
        for table in report.figures:
            yield from _table(table)
    if report.traced:
        yield "## Where the time of a step goes\n"
        for _, table in report.traced:
            yield from _table(table)
    if report.differ:
        yield "## Settings that differ\n"
        for table in report.differ:
            yield from _table(table)
    if report.agree:
        yield f"## Settings{' that agree' if report.differ else ''}\n"
        for table in report.agree:
            yield from _table(table)
    yield f"Written by pprs {__version__}; {markdown(html)} has the curves."


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"### {markdown(table.title)}\n"
    yield f"| {' | '.join(map(markdown, table.columns))} |"
    yield f"|{'---|' * len(table.columns)}"
    yield from (f"| {' | '.join(map(markdown, row))} |" for row in table.rows)
    yield ""
    if table.words:
        yield f"{markdown(table.words)}\n"
