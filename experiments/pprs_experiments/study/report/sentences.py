"""The findings of the report, in sentences with their figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pprs_experiments.study.report import words
from pprs_experiments.study.report.comparing import FEWEST_CELLS, Comparison, Family
from pprs_experiments.study.report.defaults import Default
from pprs_experiments.study.report.sweeps import GPIPE, Sweep, crossings
from pprs_experiments.study.report.tables import title_of
from pprs_experiments.study.report.words import Measure
from pprs_experiments.study.verdicts import Verdict

NOTHING = "No results say anything about it yet."
_SAID = {
    "better": "{who} is better",
    "worse": "{who} is worse",
    "no difference seen": "no difference is seen",
}


def family(found: Family, who: str, rival: str) -> list[str]:
    """The verdicts of comparisons, three sentences for each measure.

    Args:
        found: the comparisons.
        who: is compared.
        rival: with whom.
    """
    said = []
    for measure, together in found.together.items():
        judged = [verdict for _, verdict in found.of(measure)]
        count = Counter(verdict.word for verdict in judged)
        said.append(
            f"Over {words.plural(len(judged), 'cell')}, {_SAID[together.word].format(who=who)}: "
            f"against {rival}, {measure.gain_name}: {_figures(measure, together)}."
        )
        if found.enough(measure):
            whole = found.by_cells[measure]
            said.append(
                f"With cells as units, since the seeds of a cell share its tuning, "
                f"{_SAID[whole.word].format(who=who)}: {_figures(measure, whole)}."
            )
        else:
            said.append(
                f"{words.plural(len(judged), 'cell')} cannot tell how much of that is luck in "
                f"tuning, which the seeds of a cell share ({FEWEST_CELLS} could)."
            )
        said.append(
            f"Cell by cell, corrected for {words.plural(len(found.each), 'comparison')}: better in "
            f"{count['better']}, worse in {count['worse']}, no difference seen in "
            f"{count['no difference seen']}."
        )
    if found.left_out:
        said.append(f"{words.plural(len(found.left_out), 'cell')} cannot be compared.")
    return said or [NOTHING]


def pairs(found: Mapping[tuple[str, str, Measure], Verdict]) -> list[str]:
    """For which pairs a difference is seen."""
    said = []
    for (method, rival, measure), verdict in found.items():
        if verdict.word != "no difference seen":
            said.append(
                f"{words.label(method)} is {verdict.word} than {words.label(rival)}, "
                f"{measure.gain_name}: {_figures(measure, verdict)}."
            )
    alike = len(found) - len(said)
    if found:
        said.append(f"Of {words.plural(len(found), 'pair')}, no difference is seen in {alike}.")
    return said


def defaults(found: Sequence[Default]) -> list[str]:
    """Which candidates are within a point of the best tuned one in most cells."""
    if not found:
        return [NOTHING]
    said = []
    for each in found:
        most = "so it is a default" if each.mostly else "so it is no default"
        said.append(
            f"{words.label(each.method)} is within 1 point of the best tuned PPRS in "
            f"{each.estimated} of {words.plural(each.cells, 'cell')} by the estimate "
            f"(by the interval surely in {each.number('yes')}, surely not in "
            f"{each.number('no')}), {most} for most of them."
        )
    return said


def crossing(sweep: Sweep, found: Mapping[float, tuple[Comparison, Verdict]]) -> list[str]:
    """On which side of GPipe PPRS is, and where that changes."""
    if len(found) < 2 or min(found) <= 0:
        return []
    gains = [verdict.difference.value for _, verdict in found.values()]
    sizes, setting = list(found), words.setting_label(sweep.setting)
    ahead = [f"{size:g}" for size, gain in zip(sizes, gains, strict=True) if gain > 0]
    near = [f"{at:.3g}" for at in crossings(sizes, gains)]
    where = f"{title_of(sweep)}: " if title_of(sweep) else ""
    return [
        f"{where}of {setting} = {', '.join(f'{size:g}' for size in sizes)}, PPRS is ahead of "
        f"{words.label(GPIPE)} at {', '.join(ahead) or 'none'} by the estimates; "
        f"{f'they cross near {_and(near)}' if near else 'they do not cross in this range'}."
    ]


def _and(parts: Sequence[str]) -> str:
    return " and ".join(parts)


def accelerated(rows: Sequence[tuple[float, float, float]]) -> list[str]:
    """How the time grows with depth, and how near the lower bound it is."""
    rows = [row for row in rows if math.isfinite(row[1])]
    if not rows:
        return []
    depths, times, bounds = (np.array(column, float) for column in zip(*sorted(rows), strict=True))
    ratios = times / bounds
    said = (
        f"The time of pipelined AGD is {ratios.min():.3g} to {ratios.max():.3g} times the lower "
        f"bound for depths from {depths[0]:g} to {depths[-1]:g}."
    )
    if len(set(depths)) < 2:
        return [said]
    exponent = np.polyfit(np.log(depths), np.log(times), 1)[0]
    return [f"The time of pipelined AGD grows as Δ to the power {exponent:.3f}.", said]


def _figures(measure: Measure, verdict: Verdict) -> str:
    written = words.probability(verdict.corrected)
    p = f"p {written}" if written.startswith("<") else f"p = {written}"
    return f"{words.gains(measure, verdict.difference)} ({p})"
