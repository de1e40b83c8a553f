import pytest

from pprs_experiments.study.report.drawing import canvas, spreads, styles, title, to_picture


def test_many_lines_can_be_told_apart():
    found = [(style["color"], style["ls"], style["marker"]) for style in styles(28)]
    assert len({repr(each[:2]) for each in found}) == 28


def drawn(text="what"):
    figure, axes = canvas(5, 3)
    axes.plot([1, 2], [3, 4])
    title(figure, text)
    return to_picture(figure, "name", "words")


def test_the_same_figure_gives_the_same_file_with_its_texts():
    picture = drawn()
    assert picture.svg == drawn().svg
    assert ">what</text>" in picture.svg
    assert len(picture.svg) < 30_000


def test_titles_that_are_wider_than_the_figure_are_broken():
    assert drawn("two words " * 12).svg.count("words") >= 12
    figure, _ = canvas(5, 3)
    title(figure, "two words " * 12)
    assert max(map(len, figure.get_suptitle().split("\n"))) <= 53


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1.0, 100.0], True),
        ([1.0, 2.0], False),
        ([0.0, 100.0], False),
        ([], False),
        ([1.0, float("inf")], False),
    ],
)
def test_only_positive_values_far_from_each_other_are_drawn_on_a_logarithmic_axis(values, log):
    assert spreads(values) == log
