import numpy as np
import pytest

from experiments.study.report.made import ACCURACY, TIME, drawn, made
from pprs_experiments.study.report.comparing import contests
from pprs_experiments.study.report.drawing import Picture
from pprs_experiments.study.report.sections import QUESTIONS, sections
from pprs_experiments.study.report.sentences import NOTHING
from pprs_experiments.study.report.tables import Table


@pytest.fixture(autouse=True)
def _without_drawing(monkeypatch):
    """What the figures show is tested elsewhere, and takes long."""

    def to_picture(figure, name, alt, *, long=False):
        return Picture(name, alt, "", long)

    monkeypatch.setattr("pprs_experiments.study.report.sections.to_picture", to_picture)


def answer(number, results, accelerated=()):
    """The blocks of a question."""
    found = {each.anchor: each for each in sections(contests(results), accelerated)}
    return found[f"question-{number}"].blocks


def of(blocks, kind):
    return [block for block in blocks if isinstance(block, kind)]


def results(question, *methods, cells=3, goal=ACCURACY):
    random = np.random.default_rng(0)
    return [
        made(
            f"c/{i}",
            name,
            drawn(random, 1.0, seeds=5),
            questions=(question,),
            goal=goal,
            task={"examples": i + 1, "depth": 3},
            sigma=0.1,
        )
        for i in range(cells)
        for name in methods
    ]


def test_every_question_has_a_section_even_without_results():
    found = sections([], ())
    assert [each.title for each in found[: len(QUESTIONS)]] == [
        f"{number}. {text}" for number, text in QUESTIONS.items()
    ]
    assert all(each.blocks == (NOTHING,) for each in found[: len(QUESTIONS)])


@pytest.mark.parametrize("question", [1, 2, 3, 4, 7])
def test_pprs_is_set_against_its_rivals(question):
    blocks = answer(question, results(question, "pprs", "gd"))
    assert "the best tuned rival" in blocks[1]
    assert "PPRS against the best rival" in of(blocks, Picture)[0].alt
    assert of(blocks, Table)[-1].header == ("cell", "PPRS", "GD")


def test_smoothing_is_set_against_the_same_step_without_it():
    blocks = answer(3, results(3, "pprs-adam", "adam", "gd"))
    (table,) = [t for t in of(blocks, Table) if t.title.startswith("Smoothing against the same")]
    assert [row[:2] for row in table.rows] == [("PPRS, filter-scaled, then Adam", "Adam")]


def test_times_are_drawn_against_sizes():
    blocks = answer(2, results(2, "pprs", "sgd", goal=TIME))
    titles = [table.title for table in of(blocks, Table)]
    assert any(title.startswith("Exponent of examples m") for title in titles)
    assert any(title.startswith("PPRS against SGD, GPipe") for title in titles)
    assert any("cross" in text for text in of(blocks, str))


def test_large_m_is_about_examples_alone():
    mixed = results(7, "pprs", "sgd")
    mixed += [
        made("d", n, [0.5] * 5, questions=(7,), task={"examples": 1, "depth": 9})
        for n in ("pprs", "sgd")
    ]
    alts = [picture.alt for picture in of(answer(7, mixed), Picture)]
    assert any("against examples m" in alt for alt in alts)
    assert not any("depth" in alt for alt in alts)


def test_candidates_speak_for_themselves_whatever_they_ran_for():
    blocks = answer(5, results(3, "pprs", "pprs-filter", "default-0.1"))
    titles = " ".join(table.title for table in of(blocks, Table))
    for part in ("within 1 point", "Variants of PPRS, and what", "against the one that most"):
        assert part in titles


def test_averaging_is_set_against_one_draw():
    blocks = answer(6, results(6, "pprs", "one-draw", "k-1", "k-4"))
    assert "averaging" in blocks[1] or "no difference is seen" in blocks[1]
    alts = [picture.alt for picture in of(blocks, Picture)]
    assert any("number of draws" in alt for alt in alts)
    pairs = next(table for table in of(blocks, Table) if "variant by variant" in table.title)
    assert [row[:2] for row in pairs.rows] == [("PPRS", "one draw"), ("K = 4", "K = 1")]


def test_one_draw_is_set_against_rivals():
    blocks = answer(6, results(6, "pprs", "one-draw", "k-1", "gd"))
    assert any("against the best tuned rival, " in text for text in of(blocks, str))
    (table,) = [t for t in of(blocks, Table) if t.title.startswith("One draw against the best")]
    assert {row[1:3] for row in table.rows[:-1]} == {("one draw", "GD")}


def test_the_smooth_case_needs_no_results():
    blocks = answer(1, [], [(1, 5.0, 2.0), (10, 50.0, 20.0)])
    assert NOTHING not in blocks
    assert len(of(blocks, Picture)) == len(of(blocks, Table)) == 1


def test_it_ends_with_what_was_run():
    *_, training, runs = sections(contests(results(3, "pprs", "gd")), ())
    assert len(of(training.blocks, Picture)) == 3
    assert runs.blocks[0] == (
        "3 cells, 2 methods: 6 results from 30 runs after 120 trials of tuning, in 0.1 hours of "
        "computing."
    )


def test_no_two_figures_share_a_name():
    found = sections(contests(results(2, "pprs", "sgd", "one-draw", goal=TIME)), [(1, 2.0, 1.0)])
    names = [p.name for section in found for p in of(section.blocks, Picture)]
    assert len(set(names)) == len(names)
