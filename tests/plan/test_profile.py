import json
from dataclasses import replace

import pytest
from plan.made import profile_of, times_of

from pprs.plan.profile import Curve, Layer, Link, Profile


def made():
    times = times_of([0.1, 0.2], [0.3, 0.4], per_row=0.01, sent=8.0, size=40, kept=2.0)
    return profile_of(replace(times, step=0.01, alone=0.8), link=Link(1e-4, 1e9, False))


def test_what_was_written_is_read_again(tmp_path):
    file = tmp_path / "profile.json"
    made().save(file)
    assert Profile.load(file) == made()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.pop("format"), "lacks the format 'pprs profile 1'"),
        (lambda p: p.pop("batch"), "the file must be an object with model, batch, cores"),
        (lambda p: p.update(more=1), "must be an object with"),
        (lambda p: p.update(batch=0), "batch must be an integer of at least 1, got 0"),
        (lambda p: p.update(batch=True), "'batch' of the file must be int, got True"),
        (lambda p: p.update(batch=2.5), "'batch' of the file must be int, got 2.5"),
        (lambda p: p.update(times=[]), "must all be of the same layers"),
        (lambda p: p.update(times=3), "'times' of the file must be a list, got 3"),
        (lambda p: p.update(ties=[[7]]), "ties must hold indices below 2"),
        (lambda p: p["times"][0]["layers"].pop(), "must all be of the same layers"),
        (lambda p: p["times"][1].update(layers=[]), r"\[1\]: layers must name at least one"),
        (lambda p: p["times"][0].update(alone=2.0), "alone must be above 0, up to 1, got 2.0"),
        (lambda p: p["times"][0].update(weight_share=-1), "weight_share must be between 0 and 1"),
        (
            lambda p: p["times"][0]["layers"][1]["forward"].update(values=[-1, 0]),
            r"'forward' of 'layers' of .*\[1\]: values must be a finite .* at least 0, got -1",
        ),
        (
            lambda p: p["times"][0]["layers"][1]["forward"].update(values=["1", 0]),
            "must be float, got '1'",
        ),
        (lambda p: p["link"].update(bandwidth=0), "bandwidth must be above 0 bytes a second"),
    ],
)
def test_a_damaged_profile_is_refused_with_the_place(damage, message, tmp_path):
    file = tmp_path / "profile.json"
    made().save(file)
    written = json.loads(file.read_text())
    damage(written)
    file.write_text(json.dumps(written))
    with pytest.raises(ValueError, match=f"{file} is no profile: .*{message}"):
        Profile.load(file)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\x00", "NaN"])
def test_what_is_no_profile_is_refused(text, tmp_path):
    file = tmp_path / "profile.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="is no profile"):
        Profile.load(file)
    with pytest.raises(ValueError, match="cannot read .*: No such file"):
        Profile.load(tmp_path / "none")


def test_the_times_of_as_many_processes_as_were_measured_are_taken():
    profile = made()
    assert profile.of(smoothed=True, processes=8).processes == 2
    assert profile.of(smoothed=False, processes=1).processes == 1
    plain = replace(profile, times=tuple(t for t in profile.times if not t.smoothed))
    with pytest.raises(ValueError, match="has no smoothed passes: measure it anew"):
        plain.of(smoothed=True, processes=1)


def test_repeated_layers_cost_as_often():
    profile = made().repeated(3)
    times = profile.of(smoothed=True, processes=1)
    assert [layer.name for layer in times.layers] == ["l0", "l1", "l0*1", "l1*1", "l0*2", "l1*2"]
    assert times.sums("forward", 10)[-1] == pytest.approx(3 * (0.3 + 2 * 0.1))
    assert made().repeated(1) == made()
    with pytest.raises(ValueError, match="share parameters cannot be repeated"):
        replace(made(), ties=((0, 1),)).repeated(2)


def test_sums_are_over_the_layers_before():
    times = made().times[0]
    assert times.sums("backward", 0).tolist() == pytest.approx([0.0, 0.3, 0.7])
    assert times.sums("parameters", 5).tolist() == [0.0, 40.0, 80.0]
    assert times.sums("output", 2).tolist() == [0.0, 8.0, 16.0]


def test_curves_are_straight_between_and_beyond_their_points():
    curve = Curve((2.0, 4.0, 8.0), (10.0, 20.0, 24.0))
    assert [curve.at(rows) for rows in (0, 1, 2, 3, 4, 6, 8, 12)] == [
        0.0, 5.0, 10.0, 15.0, 20.0, 22.0, 24.0, 28.0,
    ]  # fmt: skip
    falling = Curve((2.0, 4.0), (2.0, 1.0))
    assert [falling.at(rows) for rows in (3, 4, 100)] == [1.5, 1.0, 1.0]  # never less for more


def test_lines_and_links_are_checked():
    assert Curve.line(1.0, 2.0).at(3) == 7.0
    assert Link(0.5, 10.0).seconds(20) == 2.5
    assert Layer("x").parameters == 0
    with pytest.raises(ValueError, match="values must be a finite number of at least 0"):
        Curve.line(0.0, -1.0)
    with pytest.raises(ValueError, match="rows must increase"):
        Curve((1.0, 1.0), (0.0, 0.0))
    with pytest.raises(ValueError, match="equally many, two or more"):
        Curve((1.0,), (0.0,))
