"""The page of the results: claims, tables, and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from pprs.io.files import writing
from pprs_experiments.attack.comparing import Comparison, Result, compare, median, result
from pprs_experiments.attack.figures import LINES, curves, finals
from pprs_experiments.attack.plan import CLAIMS, DEPTHS, FROGS, HEADLINES, METHODS, PAIRS, Claim
from pprs_experiments.attack.results import Row
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.report.drawing import to_picture

Label = TypeVar("Label")


class Verdict(NamedTuple):
    """What came out of a claim on a pair of classes at a depth."""

    claim: Claim
    pair: str
    depth: int
    found: Comparison


def write_report(rows: Sequence[Row], out: Path) -> Path:
    """Write the page and its figures to a folder; returns the page."""
    found = list(verdicts(rows))
    lines = ["# The attack, measured", "", summary(found)]
    for depth in DEPTHS:
        lines += ["", f"## Claims, {_account(depth)}", "", *_claims_by_pair(found, depth)]
        lines += ["", f"## Losses, {_account(depth)}", "", *_losses_by_pair(rows, depth)]
    lines += ["", "## Claims, in full", "", *_claims(found)]
    for pair in PAIRS:
        for depth in DEPTHS:
            results = table_results(rows, pair.name, depth)
            if not results:
                continue
            account = _account(depth)
            lines += ["", f"## {pair.name}, {account}", "", *_table(results)]
            if pair == FROGS:
                drawn = [one for name in LINES for one in _found(rows, pair.name, name, depth)]
                figures = {"curves": curves(drawn, depth), "finals": finals(results, depth)}
                for kind, figure in figures.items():
                    name = f"{kind}-{depth}.svg"
                    (out / name).write_text(to_picture(figure, kind, account).svg)
                    lines += ["", f"![Losses, {account}]({name})"]
    page = out / "report.md"
    with writing(page):
        page.write_text("\n".join(lines) + "\n")
    return page


def verdicts(rows: Sequence[Row]) -> Iterator[Verdict]:
    """Of all claims whose methods have been run."""
    for pair in PAIRS:
        for depth in DEPTHS:
            for claim in CLAIMS:
                for ours in _found(rows, pair.name, claim.ours, depth):
                    for rival in _found(rows, pair.name, claim.rival, depth):
                        theirs = rival.hindsight if claim.hindsight else rival.final
                        if len(ours.final.keys() & theirs.keys()) > 1:
                            found = compare(ours.final, theirs)
                            yield Verdict(claim, pair.name, depth, found)


def table_results(rows: Sequence[Row], pair: str, depth: int) -> list[tuple[str, Result]]:
    """All methods that have been run, with each K by itself."""
    return [
        (method.label + (f", K = {samples}" if samples else ""), one)
        for name, method in METHODS.items()
        for samples in (method.samples if len(method.samples) > 1 else (None,))
        for one in _found(rows, pair, name, depth, samples)
    ]


def _found(
    rows: Sequence[Row], pair: str, method: str, depth: int, samples: int | None = None
) -> list[Result]:
    """The result, if there is one."""
    try:
        return [result(rows, pair, method, depth, samples)]
    except LookupError:
        return []


def summary(found: Sequence[Verdict]) -> str:
    """One paragraph: the main claims, on frogs in the deepest pipeline."""
    sentences = [
        f"{claim}: {compared.answer} (lower on {compared.lower} of {compared.images} images, "
        f"median {_shown(compared.relative, '{:+.0%}')})."
        for claim, pair, depth, compared in found
        if pair == FROGS.name and depth == DEPTHS[0] and claim in HEADLINES
    ]
    opening = f"Frogs, equal pipeline time, Δ = {DEPTHS[0]}."
    return " ".join([opening, *sentences] if sentences else ["Nothing has been compared yet."])


def _account(depth: int) -> str:
    return f"equal pipeline time, Δ = {depth}" if depth > 1 else "equal gradients"


def _claims_by_pair(found: Sequence[Verdict], depth: int) -> Iterator[str]:
    """On how many images it is lower, and the median difference."""
    held = {(one.claim, one.pair): one.found for one in found if one.depth == depth}
    shown = {
        key: f"{one.lower} of {one.images}, {_shown(one.relative, '{:+.0%}')}"
        for key, one in held.items()
    }
    return _for_each_pair("claim", {claim: str(claim) for claim in CLAIMS}, shown)


def _losses_by_pair(rows: Sequence[Row], depth: int) -> Iterator[str]:
    """The median loss at the end, and how many images are taken for the target."""
    shown = {
        (name, pair.name): f"{np.median(list(one.final.values())):.2f}, {np.mean(one.taken):.0%}"
        for name in METHODS
        for pair in PAIRS
        for one in _found(rows, pair.name, name, depth)
    }
    labels = {name: method.label for name, method in METHODS.items()}
    return _for_each_pair("final loss, taken for the target", labels, shown)


def _for_each_pair(
    head: str, labels: Mapping[Label, str], shown: Mapping[tuple[Label, str], str]
) -> Iterator[str]:
    pairs = [pair.name for pair in PAIRS]
    yield f"| {head} | {' | '.join(pairs)} |"
    yield "|---" * (1 + len(pairs)) + "|"
    for key, label in labels.items():
        cells = [shown.get((key, pair), "") for pair in pairs]
        if any(cells):
            yield f"| {label} | {' | '.join(cells)} |"


def _claims(found: Sequence[Verdict]) -> Iterator[str]:
    yield (
        "| claim | pair | Δ | lower on | median difference | mean difference | p, sign test | "
        "holds | lower on 3/4, by 5 % |"
    )
    yield "|---" * 9 + "|"
    for claim, pair, depth, compared in found:
        cells = (
            *(claim, pair, depth, f"{compared.lower} of {compared.images}"),
            _shown(compared.relative, "{:+.0%}"),
            *(_shown(compared.difference), f"{compared.p:.2g}", compared.answer),
            "yes" if compared.bar else "no",
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _table(results: Sequence[tuple[str, Result]]) -> Iterator[str]:
    yield (
        "| method | σ, step | n | final loss, median | mean | best of the grid for each image, "
        "median | taken for the target | largest change, median | gradients |"
    )
    yield "|---" * 9 + "|"
    for label, one in results:
        setting = ", ".join(f"{value:g}" for value in one.setting[1:] if value)
        best = list(one.hindsight.values())
        cells = (
            *(label, setting or "nothing tuned", len(one.final)),
            *(_shown(figure(list(one.final.values()))) for figure in (median, mean)),
            f"{np.median(best):.2f}" if best and setting else "",
            *(f"{np.mean(one.taken):.0%}", f"{np.median(one.distance):.4f}", f"{one.queries:,}"),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _shown(value: Interval, form: str = "{:.2f}") -> str:
    return f"{form.format(value.value)} [{form.format(value.low)}, {form.format(value.high)}]"
