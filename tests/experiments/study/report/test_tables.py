import math

import numpy as np
import pytest

from experiments.study.report.made import ACCURACY, LOSS, TIME, drawn, made
from pprs_experiments.study.report import tables
from pprs_experiments.study.report.comparing import against_rivals, contests
from pprs_experiments.study.report.sweeps import sweeps
from pprs_experiments.study.report.tables import Table

INF = math.inf


def test_outcomes_have_a_row_for_each_cell_and_the_best_in_bold():
    results = [
        made("c/one", "pprs", [0.6] * 4),
        made("c/one", "gd", [0.5] * 4),
        made("c/two", "gd", [0.25] * 4),
    ]
    (table,) = tables.outcomes(contests(results))
    assert table.title == "Test accuracy, %, interquartile mean [95 % interval] over 4 seeds (c)"
    assert table.header == ("cell", "PPRS", "GD")
    assert table.rows == (
        ("one", "**60.0 [60.0, 60.0]**", "50.0 [50.0, 50.0]"),
        ("two", "–", "**25.0 [25.0, 25.0]**"),
    )


def test_of_times_and_losses_the_least_is_the_best():
    for goal in (TIME, LOSS):
        results = [made("c", n, [v] * 3, goal=goal) for n, v in (("gd", 1.0), ("agd", 2.0))]
        ((_, agd, gd),) = tables.outcomes(contests(results))[0].rows
        assert gd.startswith("**")
        assert not agd.startswith("**")


def test_what_never_arrived_is_never_the_best():
    results = [made("c", name, [INF] * 3, goal=TIME) for name in ("gd", "pprs")]
    assert tables.outcomes(contests(results))[0].rows == (
        ("c", "never [never, never]", "never [never, never]"),
    )


def test_one_seed_is_said_to_be_one():
    (table,) = tables.outcomes(contests([made("c", "gd", [0.5]), made("c", "pprs", [], tuned=0.5)]))
    assert table.rows == (("c", "–", "50.0 (one seed)"),)


def test_verdicts_have_their_figures_and_what_is_left_out_its_reason():
    random = np.random.default_rng(0)
    results = [made("c/a", "pprs", drawn(random, 0.9)), made("c/a", "gd", drawn(random, 0.5))]
    results += [made("c/b", "pprs", drawn(random, 0.9))]
    verdicts, left_out = tables.family(against_rivals(contests(results)), "PPRS against rivals")
    cell, together = verdicts.rows
    assert cell[:3] == ("a", "PPRS", "GD")
    assert cell[4:] == ("0.002", "10/0/0", "**better**")
    assert together[0] == "**all together**"
    assert left_out.rows == (("c/b", "no rival"),)


@pytest.mark.parametrize("cells", [5, 6])
def test_all_cells_are_taken_together_and_by_cells_where_these_are_enough(cells):
    random = np.random.default_rng(0)
    results = [
        made(f"c/{cell}", name, drawn(random, middle))
        for cell in range(cells)
        for name, middle in (("pprs", 0.9), ("gd", 0.5))
    ]
    (table,) = tables.family(against_rivals(contests(results)), "PPRS against rivals")
    together, *by_cells = table.rows[cells:]
    assert together[4:] == ("< 0.001", f"{10 * cells}/0/0", "**better**")
    assert [(row[0], *row[4:]) for row in by_cells] == [
        ("**all, by cells**", "0.031", "6/0/0", "**better**")
    ] * (cells == 6)


def test_growth_holds_what_has_an_exponent():
    results = [
        made(f"depth {d}", name, [value] * 3, goal=TIME, task={"depth": d})
        for d in (1, 10)
        for name, value in (("pprs", 2.0 * d), ("gd", INF))
    ]
    (sweep,) = sweeps(contests(results))
    (table,) = tables.growth(sweep)
    assert table.rows == (("PPRS", "1.00 [1.00, 1.00]"),)


def test_markdown_keeps_its_columns_whatever_names_hold():
    written = Table("a < b", ("x|y", "z"), (("1\n2", "<b>"), ("**3**", "&"))).to_markdown()
    assert written.splitlines() == [
        "a &lt; b:",
        "",
        "| x\\|y | z |",
        "| --- | --- |",
        "| 1 2 | &lt;b> |",
        "| **3** | &amp; |",
    ]


def test_long_tables_are_folded():
    assert Table("t", ("x",), (("1",),), long=True).to_markdown().startswith("<details>")


def test_a_measured_time_stands_next_to_its_bound():
    (table,) = tables.accelerated([(10, INF, 40.0), (1, 20.0, 4.0)])
    assert table.rows == (("1", "20", "4", "5"), ("10", "never", "40", "inf"))
    assert tables.accelerated([]) == []


def test_goals_that_differ_have_tables_of_their_own():
    results = [made(g.metric, "gd", [0.1, 0.2], goal=g) for g in (ACCURACY, LOSS, TIME)]
    assert len(tables.outcomes(contests(results))) == 3
