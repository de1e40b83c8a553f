import json
import re
from dataclasses import replace

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from pipeline.trace.handmade import timeline_of

from pprs.cli.trace import TraceConfig, trace
from pprs.pipeline.trace.gantt import draw, gantt
from pprs.pipeline.trace.shares import shares
from pprs.pipeline.trace.timeline import Event, Timeline
from pprs.theory import Graph


def bars(figure):
    (axes,) = figure.axes
    return [p for p in axes.patches if isinstance(p, Rectangle)]


def numbers(figure):
    return [t.get_text() for t in figure.axes[0].texts]


@pytest.mark.parametrize("ranks", [2, 8])
@pytest.mark.parametrize("samples", [4, 32])
def test_there_is_a_bar_for_each_operation_and_a_lane_for_each_rank(ranks, samples):
    figure = gantt(timeline_of(Graph.chain(ranks), samples, "1f1b", steps=2))
    assert len(bars(figure)) == 2 * ranks * samples
    lanes = {round(bar.get_y() + bar.get_height() / 2) for bar in bars(figure)}
    assert lanes == set(range(ranks))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"rank {rank}" for rank in range(ranks)]
    assert sorted(numbers(figure), key=int) == [
        str(m) for m in range(samples) for _ in range(2 * ranks)
    ]


def test_bars_are_where_the_events_are():
    figure = gantt(timeline_of(Graph.chain(2, 0.001, 0.002), 2, steps=2), step=1)
    first = [(b.get_x(), b.get_width()) for b in bars(figure) if round(b.get_y()) == 0]
    assert sorted(first) == [pytest.approx(p) for p in [(0, 1), (1, 1), (5, 2), (7, 2)]]
    assert figure.axes[0].get_title(loc="left") == "gpipe, step 1"


def test_stages_of_a_rank_share_its_lane_without_overlap():
    figure = gantt(timeline_of(Graph.chain(4), 4, "interleaved", devices=2))
    places = {(round(b.get_y() + b.get_height() / 2), round(b.get_y(), 3)) for b in bars(figure)}
    assert len(places) == 4
    assert {lane for lane, _ in places} == {0, 1}
    assert {round(b.get_height(), 3) for b in bars(figure)} == {0.4}


def test_kinds_have_colours_that_the_legend_explains():
    timeline = timeline_of(Graph.chain(2), 3, "zero-bubble")
    wait = Event(1, 1, "wait", 0, 0, 0.0, 1.0)
    figure = gantt(replace(timeline, events=(wait, *timeline.events)))
    legend = figure.axes[0].get_legend()
    said = [t.get_text() for t in legend.get_texts()]
    assert said == [
        "forward",
        "backward, input part",
        "backward, weight part",
        "waits for an input",
    ]
    shown = {to_hex(b.get_facecolor()) for b in bars(figure)}
    assert {to_hex(p.get_facecolor()) for p in legend.get_patches()} == shown
    assert len(shown) == 4


def test_a_bar_without_room_has_no_number():
    timeline = timeline_of(Graph.chain(1, [0.0001], [1.0]), 12)
    assert len(bars(gantt(timeline))) == 24
    assert sorted(numbers(gantt(timeline)), key=int) == [str(m) for m in range(12)]


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_picture_is_of_the_kind_that_its_name_says(tmp_path, suffix, start):
    draw(timeline_of(Graph.chain(2), 2), tmp_path / f"step.{suffix}")
    assert (tmp_path / f"step.{suffix}").read_bytes().startswith(start)


def test_a_step_that_is_not_there_cannot_be_drawn():
    with pytest.raises(ValueError, match="step must be one of the timeline's, 0 to 0, got 3"):
        gantt(timeline_of(Graph.chain(2), 2), step=3)


@pytest.fixture
def file(tmp_path):
    timeline = timeline_of(Graph.chain(2, 0.001, 0.002, 0.0005), 4, "1f1b", steps=3)
    replace(timeline, uncertainty=2e-5).save(tmp_path / "run.json")
    return tmp_path / "run.json"


def test_the_command_shows_the_shares_and_writes_what_is_asked_for(file, capsys, tmp_path):
    picture, figures = tmp_path / "run.svg", tmp_path / "figures.json"
    found = trace(TraceConfig(file, picture, json=figures))
    expected = shares(Timeline.load(file))
    assert found == expected
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "1f1b, 2 stages, 4 microbatches" in said
    for s in found.stages:
        row = " ".join(f"{part:.1%}" for part in vars(s.share).values())
        assert f"stage {s.stage} {row} 1.000 2.000" in said
    assert f"efficiency {found.efficiency:.1%}" in said
    assert "the clocks of 2 ranks agree within 20 µs" in said
    assert picture.read_bytes().startswith(b"<?xml")
    written = json.loads(figures.read_text())
    assert written["efficiency"] == expected.efficiency
    assert written["steps"] == [1, 2]
    assert written["stages"][1]["share"]["busy"] == expected.stages[1].share.busy
    assert written["ranks"]["0"]["bubble"] == expected.ranks[0].bubble


def test_the_command_looks_at_one_step_if_asked(file):
    assert trace(TraceConfig(file, step=0)).steps == (0,)


def test_the_command_shows_ranks_that_hold_several_stages(tmp_path, capsys):
    timeline_of(Graph.chain(4), 4, "interleaved", devices=2).save(tmp_path / "run.json")
    trace(TraceConfig(tmp_path / "run.json"))
    said = capsys.readouterr().out
    assert "stage 3, rank 1" in said
    assert re.search(r"^rank 1\s+\d", said, re.MULTILINE)


def test_the_command_refuses_what_it_cannot_do(file, tmp_path):
    with pytest.raises(ValueError, match="must end in .png, .svg, .pdf"):
        TraceConfig(file, tmp_path / "run.gif")
    with pytest.raises(ValueError, match="is not a folder"):
        TraceConfig(file, json=tmp_path / "absent" / "figures.json")
    with pytest.raises(ValueError, match="step must be one of the timeline's"):
        trace(TraceConfig(file, step=9))
    with pytest.raises(ValueError, match="cannot read"):
        trace(TraceConfig(tmp_path / "absent.json"))
