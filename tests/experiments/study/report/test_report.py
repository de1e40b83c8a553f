import math
import re
from typing import Any

import numpy as np
import pytest

from experiments.study.report.made import ACCURACY, LOSS, TIME, drawn, made
from experiments.study.report.test_page import Page
from pprs_experiments.study.report import write_report
from pprs_experiments.study.results import read_results, write_results

INF = math.inf


BUDGETS = ("time", "evaluations")


def study(*budgets, **effects):
    """Three cells, in which methods are better by so much than the best rival."""
    random, results = np.random.default_rng(0), []
    for cell in range(3):
        easy = 0.05 * random.normal(size=10)
        for spent in budgets:
            middles = {"gd": 0.48, "adam": 0.5} | {n: 0.5 + e for n, e in effects.items()}
            for name, middle in middles.items():
                outcomes = easy + drawn(random, middle, spread=0.01)
                results.append(made(f"few-shot/{cell}", name, outcomes, spent=spent))
    return results


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    """The page of a study in which PPRS is better."""
    folder = tmp_path_factory.mktemp("better")
    return write_report(study(*BUDGETS, pprs=0.1), folder, [(1, 4.0, 2.0), (9, 40.0, 20.0)])


def said(page):
    return re.findall(r"Over 3 cells, (.*?): against", page.read_text())


def verdicts(page):
    """The words of the cells against the rivals, in the tables."""
    rows = (page.parent / "tables.md").read_text().splitlines()
    held = [row.split("|") for row in rows if re.match(r"\| \d \| PPRS \| (GD|Adam) \| ", row)]
    return [row[-2].strip(" *") for row in held]


def test_a_planted_advantage_is_said_of_both_budgets_and_each_cell(better):
    assert said(better) == ["PPRS is better"] * 2
    assert verdicts(better) == ["better"] * 6


@pytest.mark.parametrize(
    ("effect", "sentence", "word"),
    [
        (-0.1, "PPRS is worse", "worse"),
        (0.0, "no difference is seen", "no difference seen"),
    ],
)
def test_of_a_useless_method_no_advantage_is_said(tmp_path, effect, sentence, word):
    page = write_report(study("time", pprs=effect), tmp_path)
    assert said(page) == [sentence]
    assert verdicts(page) == [word] * 3
    assert "better</strong>" not in page.read_text()


def test_a_useless_method_that_looks_good_in_tuning_is_worse(tmp_path):
    random, results = np.random.default_rng(1), study("time", pprs=0.1)
    results += [
        made(f"few-shot/{cell}", "pprs-adam", random.normal(0.1, 0.02, size=10), tuned=0.99)
        for cell in range(3)
    ]
    assert said(write_report(results, tmp_path)) == ["PPRS is worse"]


def test_the_page_needs_nothing_else(better):
    text = better.read_bytes().decode("utf-8")
    assert not re.search(r"https?://|url\(|@import|src=\"(?!data:)", text)
    page = Page(text)
    assert page.all("link") == page.all("script") == []
    assert {"charset": "utf-8"} in page.all("meta")
    assert len(page.all("img")) == len(list((better.parent / "figures").glob("*.svg"))) == 9


def test_results_from_a_file_in_any_order_give_the_same_page(tmp_path):
    results = study("time", pprs=0.01)
    write_results(tmp_path / "results.jsonl", results)
    read = read_results(tmp_path / "results.jsonl")
    first = write_report(read, tmp_path / "a").read_bytes()
    assert write_report(read[::-1], tmp_path / "b").read_bytes() == first


@pytest.mark.slow
@pytest.mark.parametrize("goal", [ACCURACY, LOSS, TIME])
def test_whatever_is_missing_or_infinite_it_is_written(tmp_path, goal):
    worst = -INF if goal is ACCURACY else INF
    half = [worst] * 5 + [0.5] * 5
    outcomes: dict[str, Any] = {
        "both/depth 1": {"pprs": half, "gd": [worst] * 10, "sgd": half[::-1], "one-draw": half},
        "both/depth 2": {"pprs": [worst] * 10, "gd": half, "sgd": [0.1] * 10, "k-4": half},
        "no smoothed method": {"gd": [0.1] * 10},
        "no rival": {"pprs": [0.1] * 10, "one-draw": [0.2] * 10, "default-0.1": half},
        "one seed": {"pprs": [0.1], "gd": [0.2], "default-0.1": [0.1]},
        "none": {"pprs": [worst, worst], "gd": [worst, worst], "k-1": [worst] * 2},
        "no seed": {"pprs": []},
    }
    results = [
        made(
            cell,
            name,
            values,
            goal=goal,
            questions=tuple(range(1, 8)),
            tuned=0.5,
            task={"depth": int(cell[-1]) if cell[-1].isdecimal() else 0},
        )
        for cell, methods in outcomes.items()
        for name, values in methods.items()
    ]
    Page(write_report(results, tmp_path).read_text())
    text = (tmp_path / "tables.md").read_text()
    assert "| no smoothed method | no such method |" in text
    assert "| no rival | no rival |" in text
    assert "| one seed | fewer than two seeds in common |" in text
    assert "(one seed)" in text


def test_no_results_make_a_page_that_says_so(tmp_path):
    assert "No results say anything" in write_report([], tmp_path / "new").read_text()
