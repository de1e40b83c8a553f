"""What the first page and the page of the study claim is what the committed results say."""

import re
import runpy
from functools import cache
from itertools import product
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import pytest

from benchmarks.minimize.main import DEPTHS, ratios, stored
from pprs_experiments.attack.comparing import compare, result
from pprs_experiments.attack.plan import FROGS, PAIRS
from pprs_experiments.attack.results import read as read_attack
from pprs_experiments.maxima.plan import FIRST_ORDER
from pprs_experiments.maxima.problems import PROBLEMS
from pprs_experiments.maxima.report import compared
from pprs_experiments.maxima.results import read as read_maxima
from pprs_experiments.omniglot.report import difference
from pprs_experiments.omniglot.results import read as read_one_shot
from pprs_experiments.study.confirmation import RIVALS, accuracies
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.report.comparing import contests, named, paired_gains, pprs
from pprs_experiments.study.results import read_results
from pprs_experiments.study.statistics import iqm
from pprs_experiments.study.verdicts import verdict

ROOT = Path(__file__).parents[2]
PARTS = {"README.md": "Is it for you?", "docs/study.md": "Should you use it?"}
"""The parts of pages in which every figure must be one of those below."""
KNOWS_ALL, KNOWS_NOTHING = "ε and R known", "nothing known, R = 1"


@cache
def cells():
    return contests(read_results(ROOT / "experiments/study/results.jsonl"))


def points(among, ours, rival):
    """How many points of accuracy a method is ahead, over some cells together."""
    pairs = [(cell.goal, ours(cell), rival(cell)) for cell in among if ours(cell) and rival(cell)]
    found = verdict([paired_gains(*pair) for pair in pairs], better="higher").difference
    return as_points(Interval(100 * found.value, 100 * found.low, 100 * found.high))


def as_points(found):
    return f"{found.value:+.1f} points [{found.low:+.1f}, {found.high:+.1f}]"


def study():
    timed = [cell for cell in cells() if cell.spent == "time"]
    few_shot = [cell for cell in timed if 3 in cell.questions]
    paid = [cell for cell in cells() if 3 in cell.questions and cell.spent == "evaluations"]
    smoothed, adam = named("pprs-adam"), named("adam")

    def rival(cell):
        return cell.best_of("rival")

    yield points(paid, smoothed, adam)
    yield points(few_shot, smoothed, adam)
    yield points(few_shot, pprs, rival)
    yield points([cell for cell in timed if 4 in cell.questions], pprs, rival)
    for shots in (1, 100):
        name = f"few-shot/fashion-mnist/{shots} shots/depth 10/cross-entropy"
        yield points([cell for cell in timed if cell.name == name], pprs, named("sgd"))
    name = "worst-case/fashion-mnist/5 shots/depth 10/maximum"
    (loss,) = (cell for cell in timed if cell.name == name)
    averaged = loss.best(lambda method: method.startswith("pprs"))
    for found in (averaged, loss.best_of("one-draw"), loss.results["agd"]):
        yield f"{iqm(found.values):.2f}"
    yield f"{slower()(timed, 'pprs-adam', 'adam'):.1f} times"


@cache
def slower():
    return runpy.run_path(str(ROOT / "experiments/study/main.py"))["slower"]


def confirmed():
    tasks = contests(read_results(ROOT / "experiments/study/confirmation.jsonl"))
    for method, rivals in (
        *(("searched-adam", RIVALS), ("pprs-adam", RIVALS)),
        ("searched-adam", ("adam",)),
    ):
        differences = []
        for task in tasks:
            best = max((accuracies(task.results[name]) for name in rivals), key=np.mean)
            differences.append(accuracies(task.results[method]) - best)
        yield as_points(mean(np.mean(differences, axis=0)))
    for method in ("searched-adam", "pprs-adam", "one-draw-adam"):
        yield f"{slower()(tasks, method, 'adam-at-0.003'):.1f} times"


def one_shot():
    rows = read_one_shot(ROOT / "experiments/omniglot/results.jsonl")
    held = {(row.background, row.method): row for row in rows}
    for background in sorted({row.background for row in rows}):
        for method in ("searched-adam", "pprs-adam"):
            if (background, method) in held:
                found = difference(held[background, method], held[background, "adam"])
                yield as_points(found)


def minimize(*rivals):
    """Geometric mean of the ratios, and the least and the most where the page says it."""
    for depth, name in product(DEPTHS, (KNOWS_ALL, KNOWS_NOTHING)):
        for rival in rivals:
            found = ratios(stored(), depth, name, rival)
            times = geometric_mean(found)
            yield f"{times:.1f} times less" if times > 1 else f"{1 / times:.1f} times as long"
            yield f"[{min(found):.2g}, {max(found):.2g}]"


def attack():
    rows = read_attack(ROOT / "experiments/attack/results.jsonl")

    def relative(pair, depth, ours, theirs):
        method, rival = (result(rows, pair, name, depth) for name in (ours, theirs))
        return compare(method.final, rival.hindsight if theirs == "adam" else rival.final).relative

    for ours, theirs in (("pprs", "gd"), ("proximal", "pprs")):
        found = [100 * abs(relative(pair.name, 200, ours, theirs).value) for pair in PAIRS]
        yield f"{min(found):.0f} % to {max(found):.0f} % below"
    named = [
        (FROGS.name, depth, *pair)
        for depth, pair in product(
            (200, 20),
            (
                *(("pprs", "gd"), ("proximal", "pprs"), ("auto", "adam"), ("auto", "pprs-adam")),
                *(("auto", "proximal"), ("pprs", "one-draw"), ("pprs", "duchi")),
                *(("searched-grey", "adam"), ("searched", "adam")),
            ),
        )
    ]
    for each in [*named, *((pair.name, 200, "auto", "adam") for pair in PAIRS)]:
        found = relative(*each)
        low, high = sorted(100 * abs(end) for end in (found.low, found.high))
        side = "below" if found.high < 0 else "above"
        yield f"{100 * abs(found.value):,.0f} % [{low:,.0f}, {high:,.0f}] {side}"


def maxima():
    rows = read_maxima(ROOT / "experiments/maxima/results.jsonl")
    for rival in (("bundle",), FIRST_ORDER):
        found = [compared(rows, name, "auto", rival, 0, 100).mean.value for name in PROBLEMS]
        yield f"{min(found):.2g} to {max(found):.2g} times"


@cache
def claims():
    return [*study(), *confirmed(), *one_shot(), *minimize("agd", "duchi"), *attack(), *maxima()]


def plain(text):
    """Without links and line breaks."""
    return re.sub(r"\s+", " ", re.sub(r"\[[^]]*\]\([^)]*\)", "", text))


def numbers(text):
    """Numbers that are measured: with a point, a sign or an interval, or percentages, or ratios."""
    pattern = r"[-+]?\d[\d,]*(?:\.\d+)?(?= %| times|, [-+\d.]+\]|\])|[-+]?\d+\.\d+|[-+]\d+"
    return {number.lstrip("+") for number in re.findall(pattern, text)}


@pytest.mark.parametrize("page", PARTS)
def test_every_figure_of_the_advice_is_that_of_a_committed_result(page):
    part = (ROOT / page).read_text().partition(f"## {PARTS[page]}\n")[2]
    part = plain(re.split(r"^## ", part, flags=re.MULTILINE)[0]).replace("95 %", "")
    found = [claim for claim in claims() if claim in part]
    assert len(found) >= 8
    assert numbers(part) <= set().union(*map(numbers, found))


@pytest.mark.parametrize("page", ["README.md", "docs/choose.md", "docs/minimize.md"])
def test_what_pages_say_of_minimize_and_of_agd_is_what_the_results_say(page):
    text = plain((ROOT / page).read_text())
    assert [said for said in minimize("agd") if said not in text and "[" not in said] == []


def test_what_the_study_says_of_methods_without_a_knob_is_what_the_results_say():
    page = (ROOT / "docs/study.md").read_text()
    (part,) = re.findall(r"^## Without any knob\n(.+?)^## ", page, re.MULTILINE | re.DOTALL)
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 12
    for row in rows:
        shown = row.split("|")[-2].strip()
        assert any(claim in f"{shown} less" for claim in claims()), shown
