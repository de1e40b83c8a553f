"""Small schedules, written out as the papers draw them."""

from textwrap import dedent

import pytest

from pprs.theory import Graph, clock_table

# Depth, time of a backward pass, samples, schedule, devices: what each device does when.
TABLES = {
    (2, 1, 3, "gpipe", None): """
        F0 F1 F2 .  .  B0 B1 B2
        .  F0 F1 F2 B0 B1 B2 .
        """,
    (3, 1, 4, "gpipe", None): """
        F0 F1 F2 F3 .  .  .  .  B0 B1 B2 B3
        .  F0 F1 F2 F3 .  .  B0 B1 B2 B3 .
        .  .  F0 F1 F2 F3 B0 B1 B2 B3 .  .
        """,
    (2, 1, 3, "1f1b", None): """
        F0 F1 .  B0 F2 B1 .  B2
        .  F0 B0 F1 B1 F2 B2 .
        """,
    (3, 1, 4, "1f1b", None): """
        F0 F1 F2 .  .  B0 F3 B1 .  B2 .  B3
        .  F0 F1 .  B0 F2 B1 F3 B2 .  B3 .
        .  .  F0 B0 F1 B1 F2 B2 F3 B3 .  .
        """,
    (3, 2, 3, "1f1b", None): """
        F0 F1 F2 .  .  .  .  B0 B0 .  B1 B1 .  B2 B2
        .  F0 F1 .  .  B0 B0 F2 B1 B1 .  B2 B2 .  .
        .  .  F0 B0 B0 F1 B1 B1 F2 B2 B2 .  .  .  .
        """,
    (3, 2, 4, "zero-bubble", None): """
        F0 F1 F2 .  .  B0 W0 F3 B1 W1 B2 W2 B3 W3
        .  F0 F1 .  B0 F2 B1 W0 F3 B2 W1 B3 W2 W3
        .  .  F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3
        """,
    (4, 1, 4, "interleaved", 2): """
        0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 .   2B2 .   2B3 0B2 0B3
        .   1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3 .
        """,
}


@pytest.mark.parametrize("case", TABLES, ids=str)
def test_small_schedules_are_those_of_the_papers(case):
    depth, backward, samples, schedule, devices = case
    graph = Graph.chain(depth, backward=backward)
    found = clock_table(graph, samples, schedule, devices=devices)
    assert found == dedent(TABLES[case]).strip()


def test_times_between_two_units_have_no_table():
    with pytest.raises(ValueError, match="begin and end at whole units of time"):
        clock_table(Graph.chain(2, forward=0.3), 2)
