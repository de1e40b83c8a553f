"""The tables of the report, and how they are written in Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pprs_experiments.study.intervals import Interval, interval
from pprs_experiments.study.report import words
from pprs_experiments.study.report.comparing import FEWEST, Comparison, Contest, Family, kind
from pprs_experiments.study.report.defaults import Default
from pprs_experiments.study.report.sweeps import GPIPE, Sweep
from pprs_experiments.study.report.words import Measure
from pprs_experiments.study.results import Result
from pprs_experiments.study.verdicts import Verdict


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: what it shows, with the unit.
        header: of the columns.
        rows: the entries; those between `**` are set in bold.
        long: whether it is for looking things up, and best folded.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    long: bool = False

    def to_markdown(self) -> str:
        """The table in Markdown, under its title."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines)
        if self.long:
            return f"<details><summary>{escaped(self.title)}</summary>\n\n{body}\n\n</details>\n"
        return f"{escaped(self.title)}:\n\n{body}\n"


def escaped(text: str) -> str:
    """Names may hold what Markdown or HTML would take for its own."""
    for character, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(character, written)
    return text


@cache
def estimate(values: tuple[float, ...]) -> Interval:
    """The interquartile mean of a method's outcomes, of two seeds at least."""
    return interval([values])


def outcomes(contests: Sequence[Contest]) -> list[Table]:
    """For each measure what all methods reached in each cell; of each cell the best in bold."""
    tables = []
    for measure in dict.fromkeys(contest.measure for contest in contests):
        rows = [contest for contest in contests if contest.measure == measure]
        methods = ordered({name for contest in rows for name in contest.results})
        common, short = words.shortened(contest.name for contest in rows)
        seeds = Counter(len(each.runs) for row in rows for each in row.results.values())
        tables.append(
            Table(
                _sentence(
                    f"{measure.name}, interquartile mean [95 % interval] over "
                    f"{words.plural(seeds.most_common(1)[0][0], 'seed')}",
                    common,
                ),
                ("cell", *(words.label(name) for name in methods)),
                tuple((short[row.name], *_entries(row, methods)) for row in rows),
            )
        )
    return tables


def ordered(methods: set[str]) -> list[str]:
    """Smoothed methods first."""
    order = ("pprs", "default", "part", "one-draw", "rival")
    return sorted(methods, key=lambda name: (order.index(kind(name)), name))


def _entries(contest: Contest, methods: Sequence[str]) -> list[str]:
    sign = 1 if contest.goal.better_value == "higher" else -1
    middles = {
        name: estimate(result.values).value
        for name, result in contest.results.items()
        if len(result.runs) >= FEWEST
    }
    best = max((sign * value for value in middles.values() if math.isfinite(value)), default=None)
    entries = []
    for name in methods:
        text = outcome(contest.measure, contest.results.get(name))
        is_best = name in middles and sign * middles[name] == best
        entries.append(f"**{text}**" if is_best else text)
    return entries


def outcome(measure: Measure, result: Result | None) -> str:
    """What a method reached in a cell, if it ran."""
    if result is None or not result.runs:
        return "–"
    if len(result.runs) < FEWEST:
        return f"{measure.value(result.values[0])} (one seed)"
    return words.values(measure, estimate(result.values))


def family(found: Family, title: str, *, long: bool = False) -> list[Table]:
    """For each measure the verdicts on each cell and on all together."""
    tables = []
    header = ("cell", "method", "rival", "gain [95 % interval]", "p", "wins/ties/losses", "verdict")
    for measure in found.together:
        pairs = found.of(measure)
        common, short = words.shortened(each.contest.name for each, _ in pairs)
        rows = [
            (short[each.contest.name], *_names(each), *figures(measure, verdict))
            for each, verdict in pairs
        ]
        rows.extend(
            (f"**{name}**", "", "", *figures(measure, verdict))
            for name, verdict in found.overall(measure).items()
        )
        tables.append(
            Table(_sentence(f"{title}: {measure.gain_name}", common), header, tuple(rows), long)
        )
    if found.left_out:
        rows_left = tuple((contest.name, reason) for contest, reason in found.left_out)
        tables.append(Table(f"{title}: cells that say nothing", ("cell", "why"), rows_left, long))
    return tables


def figures(measure: Measure, verdict: Verdict) -> tuple[str, str, str, str]:
    """The gain, corrected p, wins, ties, losses and the word of a verdict."""
    word: str = verdict.word
    return (
        words.gains(measure, verdict.difference),
        words.probability(verdict.corrected),
        f"{verdict.wins}/{verdict.ties}/{verdict.losses}",
        word if word == "no difference seen" else f"**{word}**",
    )


def pairs(found: Mapping[tuple[str, str, Measure], Verdict], title: str) -> list[Table]:
    """Verdicts on pairs of methods over all cells."""
    header = ("method", "rival", "measure", "gain [95 % interval]", "p", "wins/ties/losses")
    rows = tuple(
        (words.label(method), words.label(rival), measure.gain_name, *figures(measure, verdict))
        for (method, rival, measure), verdict in found.items()
    )
    return [Table(title, (*header, "verdict"), rows)] if rows else []


def defaults(found: Sequence[Default], budget: str) -> list[Table]:
    """How many cells each candidate is within the margin in, and where it is not."""
    if not found:
        return []
    header = ("candidate", "cells", "within 1 point", "surely", "surely not", "cannot say")
    rows = tuple(
        (
            words.label(each.method),
            str(each.cells),
            f"**{each.estimated}**" if each.mostly else str(each.estimated),
            *(str(each.number(answer)) for answer in ("yes", "no", "cannot say")),
        )
        for each in found
    )
    title = f"Cells in which a default is within 1 point of the best tuned PPRS ({budget})"
    return [Table(title, header, rows)]


def growth(sweep: Sweep) -> list[Table]:
    """The power of a setting with which the times of each method grow."""
    found = [(name, sweep.exponent(name)) for name in ordered(set(sweep.methods))]
    rows = tuple(
        (words.label(name), f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}]")
        for name, each in found
        if each is not None and not math.isnan(each.value)
    )
    title = _sentence(
        f"Exponent of {words.setting_label(sweep.setting)} in the time to ε", title_of(sweep)
    )
    return [Table(title, ("method", "exponent [95 % interval]"), rows)] if rows else []


def title_of(sweep: Sweep) -> str:
    """What its cells have in common."""
    return words.shortened(contest.name for contest in sweep.contests)[0]


def against_gpipe(sweep: Sweep, found: Mapping[float, tuple[Comparison, Verdict]]) -> list[Table]:
    """How PPRS does against GPipe at each size."""
    rows = tuple(
        (f"{size:g}", words.label(each.method.method), *figures(each.contest.measure, verdict))
        for size, (each, verdict) in found.items()
    )
    measure = sweep.contests[0].measure
    title = _sentence(f"PPRS against {words.label(GPIPE)}: {measure.gain_name}", title_of(sweep))
    header = (words.setting_label(sweep.setting), "method", "gain [95 % interval]", "p")
    return [Table(title, (*header, "wins/ties/losses", "verdict"), rows)] if rows else []


def accelerated(rows: Sequence[tuple[float, float, float]]) -> list[Table]:
    """Times of pipelined AGD on smooth convex functions, next to the lower bound."""
    held = tuple(
        (f"{depth:g}", _time(time), f"{bound:,.0f}", f"{time / bound:.3g}")
        for depth, time, bound in sorted(rows)
    )
    header = ("depth Δ", "pipeline time to ε", "lower bound", "time / bound")
    return [Table("Pipelined AGD on a smooth convex function", header, held)] if held else []


def _time(time: float) -> str:
    return f"{time:,.0f}" if math.isfinite(time) else "never"


def _names(comparison: Comparison) -> tuple[str, str]:
    return words.label(comparison.method.method), words.label(comparison.rival.method)


def _sentence(what: str, where: str) -> str:
    text = f"{what} ({where})" if where else what
    # A capital σ is another symbol.
    return text[0].upper() + text[1:] if text[0].isascii() else text
