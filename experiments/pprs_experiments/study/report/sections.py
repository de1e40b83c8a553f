"""The sections of the report: for each question sentences, figures and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from matplotlib.figure import Figure

from pprs_experiments.study.report import defaults, figures, listings, sentences, tables, words
from pprs_experiments.study.report.comparing import (
    Contest,
    Family,
    against_rivals,
    averaging,
    in_pairs,
    kind,
    one_draw,
    with_one_draw,
    without_smoothing,
)
from pprs_experiments.study.report.drawing import Picture, to_picture
from pprs_experiments.study.report.forest import forest
from pprs_experiments.study.report.sweeps import against_gpipe, sweeps
from pprs_experiments.study.report.tables import Table
from pprs_experiments.study.report.words import BUDGETS

QUESTIONS: Mapping[int, str] = {
    1: "Smooth convex: is pipelined AGD's time proportional to Δ, and within what constant of the "
    "lower bound?",
    2: "Convex, not smooth: how do times to ε grow with Δ, m and d? Where is the crossing with "
    "GPipe?",
    3: "Few-shot: what does PPRS gain or lose against the best tuned rival?",
    4: "Adversarial training: what does PPRS gain or lose under attack?",
    5: "Which σ, K and law of noise work? Is there a default within 1 point of the tuned one in "
    "most cells?",
    6: "Does averaging K draws matter, or is one draw for each step as good?",
    7: "Does what it gains survive where GPipe can fill the pipeline with examples (large m)?",
}
_EXAMPLES = ("examples", "functions", "shots")
_SWEPT: Mapping[int, Sequence[str] | None] = {1: None, 2: None, 7: _EXAMPLES}  # None: all settings
DepthTimes: TypeAlias = Sequence[tuple[float, float, float]]
Block: TypeAlias = str | Table | Picture


@dataclass(frozen=True)
class Heading:
    """The heading of a part of a section.

    Args:
        text: in words.
    """

    text: str


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Args:
        title: in words.
        anchor: what links to it name.
        blocks: in order.
    """

    title: str
    anchor: str
    blocks: tuple[Block | Heading, ...]


def sections(contests: Sequence[Contest], accelerated: DepthTimes) -> list[Section]:
    """One for each question, in order, and those on what was run."""
    answers = [
        Section(
            f"{number}. {text}", f"question-{number}", tuple(_answer(number, contests, accelerated))
        )
        for number, text in QUESTIONS.items()
    ]
    return [*answers, _curves(contests), _ran(contests)]


def _answer(
    number: int, contests: Sequence[Contest], accelerated: DepthTimes
) -> Iterator[Block | Heading]:
    if number == 1 and accelerated:
        yield from sentences.accelerated(accelerated)
        yield _picture(figures.accelerated(accelerated), "question 1, smooth", "Time against depth")
        yield from tables.accelerated(accelerated)
    there = [c for c in contests if number in c.questions]
    if number == 5:  # whatever question a candidate ran for, it speaks for itself
        there = [c for c in contests if number in c.questions or _has_default(c)]
    if not there and not (number == 1 and accelerated):
        yield sentences.NOTHING
    for spent, budget in BUDGETS.items():
        among = [contest for contest in there if contest.spent == spent]
        if among:
            yield Heading(f"Equal {budget}")
            name = f"question {number}, {spent}"
            yield from {5: _laws, 6: _averaging}.get(number, _rivals)(among, name, budget)
            if number in _SWEPT:
                yield from _swept(among, name, _SWEPT[number])
            yield from tables.outcomes(among)


def _has_default(contest: Contest) -> bool:
    return any(kind(name) == "default" for name in contest.results)


def _rivals(among: Sequence[Contest], name: str, budget: str) -> Iterator[Block]:
    found = against_rivals(among)
    yield from sentences.family(found, "PPRS", "the best tuned rival")
    yield from _compared(found, name, f"PPRS against the best rival, equal {budget}")
    paired = in_pairs(among, without_smoothing(among))
    yield from sentences.pairs(paired)
    yield from tables.pairs(paired, f"Smoothing against the same step without it, {budget}")


def _averaging(among: Sequence[Contest], name: str, budget: str) -> Iterator[Block]:
    found = averaging(among)
    yield from sentences.family(found, "averaging", "the best with one draw for each step")
    yield from _compared(found, name, f"Averaging against one draw for each step, equal {budget}")
    alone = one_draw(among)
    yield from sentences.family(alone, "one draw for each step", "the best tuned rival")
    yield from tables.family(alone, f"One draw against the best rival, equal {budget}", long=True)
    paired = in_pairs(among, with_one_draw(among))
    yield from sentences.pairs(paired)
    yield from tables.pairs(paired, f"Averaging against one draw, variant by variant, {budget}")
    for measure in dict.fromkeys(contest.measure for contest in among):
        for part, figure in enumerate(figures.by_samples(among, measure), 1):
            alt = f"{measure.name} against the number of draws averaged"
            yield _picture(figure, f"{name}, draws {measure.name} {part}", alt)


def _laws(among: Sequence[Contest], name: str, budget: str) -> Iterator[Block]:
    found = defaults.defaults(among)
    yield from sentences.defaults(found)
    yield from tables.defaults(found, budget)
    for each in found:
        what = f"{words.label(each.method)} against the best tuned PPRS, equal {budget}"
        yield from _compared(each.family, f"{name}, {each.method}", what, long=True)
    yield from listings.tuned(among)
    ran = Counter(n for c in among for n in c.results if kind(n) == "pprs")
    if ran:
        usual = max(sorted(ran), key=lambda name: ran[name])
        paired = in_pairs(among, dict.fromkeys(sorted(ran.keys() - {usual}), usual))
        yield from sentences.pairs(paired)
        title = f"Variants of PPRS against the one that most cells have, {budget}"
        yield from tables.pairs(paired, title)


def _compared(found: Family, name: str, what: str, *, long: bool = False) -> Iterator[Block]:
    for measure in found.together:
        figure = forest(found.of(measure), found.overall(measure), measure, what)
        alt = f"{what}: {measure.gain_name} in each cell, with intervals"
        yield _picture(figure, f"{name}, {measure.metric}", alt, long=long)
    yield from tables.family(found, what, long=long)


def _swept(among: Sequence[Contest], name: str, settings: Sequence[str] | None) -> Iterator[Block]:
    found = [each for each in sweeps(among) if settings is None or each.setting in settings]
    for number, sweep in enumerate(found, 1):
        alt = f"{sweep.contests[0].measure.name} against {words.setting_label(sweep.setting)}"
        crossed = against_gpipe(sweep)
        yield from sentences.crossing(sweep, crossed)
        yield _picture(figures.by_size(sweep), f"{name}, {sweep.setting} {number}", alt)
        if sweep.contests[0].measure.timed:
            yield from tables.growth(sweep)
        yield from tables.against_gpipe(sweep, crossed)


def _curves(contests: Sequence[Contest]) -> Section:
    blocks: list[Block | Heading] = []
    for spent, budget in BUDGETS.items():
        among = [contest for contest in contests if contest.spent == spent]
        if among:
            blocks.append(Heading(f"Against {budget}"))
        for contest in among:
            alt = f"Training loss of all methods in {contest.name} against {budget}"
            name = f"training, {spent}, {contest.name}"
            blocks.append(_picture(figures.curves(contest), name, alt, long=True))
    return Section("Training", "training", tuple(blocks))


def _ran(contests: Sequence[Contest]) -> Section:
    results = [result for contest in contests for result in contest.results.values()]
    runs = sum(len(result.runs) for result in results)
    hours = sum(result.seconds for result in results) / 3600
    methods = len({result.method for result in results})
    said = (
        f"{words.plural(len(contests), 'cell')}, {words.plural(methods, 'method')}: "
        f"{words.plural(len(results), 'result')} from {words.plural(runs, 'run')} after "
        f"{words.plural(sum(result.trials for result in results), 'trial')} of tuning, in "
        f"{hours:,.1f} hours of computing."
    )
    held = (said, listings.ran(contests), listings.hyperparameters(contests))
    return Section("What was run", "runs", held)


def _picture(figure: Figure, name: str, alt: str, *, long: bool = False) -> Picture:
    return to_picture(figure, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), alt, long=long)
