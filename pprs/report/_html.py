"""The report as one HTML file that asks for nothing: style, script and numbers are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from pprs import __version__
from pprs.report._charts import as_script, charts
from pprs.report._sections import Sections
from pprs.report._table import Table
from pprs.report._timeline import lanes
from pprs.report._words import MARK, clean

_ROWS = 50  # of a table; more make a page slow, and nobody reads them
_NOTES = 30
_NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def as_html(report: Sections, markdown: str) -> str:
    """The page.

    Args:
        report: what it shows.
        markdown: the name of the file beside it, which has all rows of the tables.
    """
    return "\n".join(_page(report, markdown)) + "\n"


def _page(report: Sections, markdown: str) -> Iterator[str]:
    here = files("pprs.report")
    title = _text(report.title)
    yield (
        f'<!doctype html>\n<!-- {MARK} -->\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_ELSE}">\n'
        f"<title>{title} – pprs report</title>\n<style>"
    )
    yield here.joinpath("report.css").read_text(encoding="utf-8")
    yield f"</style>\n</head>\n<body>\n<main>\n<header><p>pprs report</p><h1>{title}</h1></header>"
    yield '<div class="answer">' + "".join(f"<p>{_text(a)}</p>" for a in report.answers) + "</div>"
    yield from _notes(report.notes)
    data = charts(report.methods)
    if data["charts"] and data["axes"]:
        yield from _curves(report, thinned=data["thinned"])
    yield from _section("Final figures", report.figures, markdown, report.ranking)
    yield from _timelines(report, markdown)
    if report.differ or report.agree:
        yield from _settings(report, markdown)
    yield f"<footer><p>Written by pprs {__version__}; the tables are in {_text(markdown)}, too.</p>"
    yield "</footer>\n</main>"
    yield f'<script type="application/json" id="data">{as_script(data)}</script>'
    for name in ("numbers.js", "curves.js"):
        yield f"<script>\n{here.joinpath(name).read_text(encoding='utf-8')}</script>"
    yield "</body>\n</html>"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        left = len(notes) - _NOTES
        shown = [*notes[:_NOTES], *([f"and {left} more"] if left > 0 else [])]
        items = "".join(f"<li>{_text(note)}</li>" for note in shown)
        yield f'<section class="notes"><h2>What was found wrong</h2><ul>{items}</ul></section>'


def _curves(report: Sections, *, thinned: bool) -> Iterator[str]:
    several = any(len(m.curves) > 1 for m in report.methods)
    words = ["A line is the mean of a method’s seeds, its band their range."] if several else []
    if thinned:
        words.append("Of many points, the lowest and highest of each stretch are drawn.")
    if report.trains and any("pipeline_time" in c.axes for m in report.methods for c in m.curves):
        words.append(
            "Pipeline time of a training: a forward or backward of the whole batch, at one "
            "perturbation, in one stage costs 1."
        )
    yield '<section aria-labelledby="curves"><h2 id="curves">Curves</h2>'
    yield '<div id="controls"></div><ul id="legend"></ul><div id="more"></div>'
    yield '<div id="charts"><noscript>The curves need JavaScript.</noscript></div>'
    yield f'<p class="words">{_text(" ".join(words))}</p></section>'


def _section(
    title: str, tables: Sequence[Table], markdown: str, ranking: str | None
) -> Iterator[str]:
    if tables:
        yield f"<section><h2>{_text(title)}</h2>"
        for table in tables:
            yield from _table(table, title, markdown, ranking)
        yield "</section>"


def _timelines(report: Sections, markdown: str) -> Iterator[str]:
    if not report.traced:
        return
    yield "<section><h2>Where the time of a step goes</h2>"
    for run, table in report.traced[:5]:
        assert run.read.timeline is not None
        step = run.read.timeline.steps[-1]
        if table.title:
            yield f"<h3>{_text(table.title)}</h3>"
        yield f'<p class="words">{_text(run.read.timeline.schedule)}, step {step}</p>'
        yield lanes(run.read.timeline)
        untitled = Table(table.columns, table.rows, table.words)
        yield from _table(untitled, f"Shares of {run.name}", markdown, None)
    yield "</section>"


def _settings(report: Sections, markdown: str) -> Iterator[str]:
    yield "<section><h2>Settings</h2>"
    for table in report.differ:
        yield from _table(table, "Settings that differ", markdown, report.ranking)
    for table in report.agree:
        of = f"{table.title}: " if table.title else ""
        how = " on which all agree" if report.differ else ""
        yield f"<details><summary>{of}{len(table.rows)} settings{how}</summary>"
        yield from _table(Table(table.columns, table.rows), "Settings that agree", markdown, None)
        yield "</details>"
    yield "</section>"


def _table(table: Table, name: str, markdown: str, ranking: str | None) -> Iterator[str]:
    head = "".join(f'<th scope="col">{_text(c)}</th>' if c else "<td></td>" for c in table.columns)
    if table.title:
        yield f"<h3>{_text(table.title)}</h3>"
    label = _text(table.title or name)
    # It can be scrolled, and so must be reached by keyboard.
    yield f'<div class="table" role="region" aria-label="{label}" tabindex="0"><table>'
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for row in table.rows[:_ROWS]:
        first, *others = map(_text, row)
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    words = [table.words] if table.words else []
    if len(table.rows) > _ROWS:
        which = f"best by {ranking.replace('_', ' ')}" if ranking else "first"
        words.append(f"The {_ROWS} {which} of {len(table.rows)}; all are in {markdown}.")
    if words:
        yield f'<p class="words">{_text(" ".join(words))}</p>'


def _text(text: str) -> str:
    return escape(clean(text))
