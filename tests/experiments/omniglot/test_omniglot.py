"""A small version of the one-shot runs, on drawings that a generator makes."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

from pprs_experiments.omniglot import command, fine_tuning
from pprs_experiments.omniglot.command import Effort, parted
from pprs_experiments.omniglot.fine_tuning import (
    episode,
    fine_tuned,
    nearest,
    nearest_points,
    problem,
)
from pprs_experiments.omniglot.network import features, fit, moved, network
from pprs_experiments.omniglot.report import FLOORS, METHODS, difference, rate, write_report
from pprs_experiments.omniglot.results import Row, read
from pprs_experiments.rows import append
from pprs_experiments.tasks.images.omniglot import background, official_runs

PEOPLE = 3


def drawing_of(character, person):
    """A PNG of 105×105 with black ink on white: four large squares tell the character."""
    pixels = np.full((105, 105), 255, np.uint8)
    for place in range(9):
        if character >> place & 1:
            row, column = 20 + 24 * (place // 3), 20 + 24 * (place % 3)
            pixels[row + person : row + 14 + person, column : column + 14] = 0
    held = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(held, "PNG")
    return held.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three alphabets, of 20, 20 and 2 characters, and two official runs."""
    root = tmp_path_factory.mktemp("data")
    (root / "omniglot").mkdir()
    for number in (1, 2):
        name = f"images_background_small{number}"
        with zipfile.ZipFile(root / "omniglot" / f"{name}.zip", "w") as made:
            for alphabet, count in (("Aa", 20), ("Bb", 20), ("Cc", 2)):
                for c in range(count):
                    for person in range(PEOPLE):
                        file = f"{name}/{alphabet}/character{c + 1:02d}/0001_{person + 1:02d}.png"
                        made.writestr(file, drawing_of(1 + 7 * c + number, person))
    with zipfile.ZipFile(root / "omniglot" / "all_runs.zip", "w") as made:
        for run in (1, 2):
            lines = []
            for i in range(1, 21):
                answer = i % 20 + 1
                made.writestr(f"run0{run}/training/class{i:02d}.png", drawing_of(11 * i, 0))
                made.writestr(f"run0{run}/test/item{i:02d}.png", drawing_of(11 * answer, 1))
                lines.append(
                    f"run0{run}/test/item{i:02d}.png run0{run}/training/class{answer:02d}.png"
                )
            made.writestr(f"run0{run}/class_labels.txt", "\n".join(lines))
    return root


def test_the_files_are_read_with_ink_as_one_and_the_official_answers(folder):
    data = background(folder, 1)
    assert data.images.shape == (42 * PEOPLE, 1, 28, 28)
    assert data.names == ["Aa", "Bb", "Cc"]
    assert 0 < float(data.images.mean()) < 0.5
    assert sorted(set(data.characters.tolist())) == list(range(42))
    assert sorted(set(data.people.tolist())) == [1, 2, 3]
    assert sorted(set(data.only(["Bb"]).characters.tolist())) == list(range(20))
    runs = official_runs(folder)
    assert len(runs) == 2
    assert runs[0].answers.tolist() == [*range(1, 20), 0]
    assert nearest(runs[0]) > 0.7
    assert nearest_points(official_runs(folder, 105)[0]) > 0.7


@pytest.mark.parametrize("damage", ["nothing", "no zip", "no answers"])
def test_a_damaged_file_is_named(folder, tmp_path, damage):
    (tmp_path / "omniglot").mkdir()
    if damage == "no zip":
        (tmp_path / "omniglot" / "all_runs.zip").write_bytes(b"no")
    if damage == "no answers":
        with zipfile.ZipFile(tmp_path / "omniglot" / "all_runs.zip", "w") as made:
            made.writestr("run01/", "")
    with pytest.raises(ValueError, match=r"all_runs\.zip"):
        official_runs(tmp_path)


def test_an_episode_is_of_one_alphabet_and_two_people(folder):
    data = background(folder, 1)
    task = episode(data, 3)
    assert task.train.shape == task.test.shape == (20, 1, 28, 28)
    assert task.answers.tolist() == list(range(20))
    assert not torch.equal(task.train, task.test)
    assert torch.equal(task.train, episode(data, 3).train)
    assert any(not torch.equal(task.train, episode(data, seed).train) for seed in (4, 5))
    people = {
        int(data.people[(data.images == image).flatten(1).all(1)].unique()) for image in task.train
    }
    assert len(people) == 1


def test_the_network_for_tuning_does_not_see_the_alphabets_that_settings_are_tried_on(folder):
    kept, left = parted(background(folder, 1))
    assert (kept.names, left.names) == (["Cc"], ["Aa", "Bb"])


def test_pretraining_learns_and_is_repeatable(folder):
    data = background(folder, 1).only(["Aa"])

    def after(epochs):
        generator = torch.Generator().manual_seed(0)
        model = network(20, generator)
        fit(model, data, generator, epochs)
        return model

    model = after(12)
    right = (model(data.images).argmax(1) == data.characters).float().mean()
    assert right > 0.3
    assert torch.equal(features(model, data.images), features(after(12), data.images))
    assert moved(data.images, torch.Generator().manual_seed(0)).shape == data.images.shape


def test_fine_tuning_starts_from_the_network_and_leaves_it_as_it_was(folder, monkeypatch):
    monkeypatch.setattr(fine_tuning, "STEPS", 12)
    task, model = official_runs(folder)[0], network(5, torch.Generator().manual_seed(0))
    before = [p.clone() for p in model.parameters()]
    start = problem(model, task, 0)
    assert torch.equal(start.model[0][0].weight, before[0])
    assert start.model[-1][-1].out_features == 20
    assert start.cost.depth == 10
    for method, settings in (("adam", {"lr": 0.003}), ("searched-adam", {})):
        outcome = fine_tuned(model, task, method, settings, 0)
        assert outcome.last.training_loss < outcome.history[0].training_loss
        assert outcome.last.pipeline_time <= 12 * start.price().time
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_all_methods_run_once_and_go_on(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fine_tuning, "STEPS", 3)
    monkeypatch.setattr(command, "SETS", (1,))
    file, effort = tmp_path / "results.jsonl", Effort(epochs=1, trials=1, episodes=1)
    command.work(folder, tmp_path, file, effort)
    rows = read(file)
    assert [row.method for row in rows] == [*FLOORS, *METHODS]
    assert all(len(row.errors) == 2 for row in rows)
    assert [bool(row.steps) for row in rows] == [*[False] * 3, *[True] * 6]
    assert dict(rows[-1].settings) == {}
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])  # killed while it wrote
    command.work(folder, tmp_path, file, effort)
    assert read(file)[-1].errors == rows[-1].errors
    assert len(read(file)) == len(rows)
    page = write_report(rows, tmp_path).read_text()
    assert "| SAM |" in page
    assert "| Adam, than nearest neighbour, features (prototypes) |" in page
    assert "prototypes" in (tmp_path / "errors.svg").read_text()


def test_the_tables_of_the_page_are_those_of_the_committed_results(tmp_path):
    root = Path(__file__).parents[3]
    made = write_report(read(root / "experiments/omniglot/results.jsonl"), tmp_path).read_text()
    page = (root / "docs/omniglot.md").read_text().partition("## Results")[2]
    shown = [line for line in page.splitlines() if line.startswith("|")]
    assert shown == [line for line in made.splitlines() if line.startswith("|")]
    picture = root / "docs/images/omniglot-errors.svg"
    assert picture.read_text() == (tmp_path / "errors.svg").read_text()


def test_rates_are_of_the_runs_and_differences_are_paired(tmp_path):
    few = Row(1, "sam", {"lr": 0.1}, 0.5, [2, 4, 6], [0.1] * 3, 50, 1.0)
    many = Row(1, "adam", {"lr": 0.1}, 0.5, [4, 6, 8], [0.1] * 3, 50, 1.0)
    assert rate(few).value == pytest.approx(fmean([10, 20, 30]))
    assert rate(few).low < 20 < rate(few).high
    found = difference(few, many)
    assert (found.value, found.low, found.high) == pytest.approx((-10, -10, -10))
    draws = replace(many, method="one-draw-adam", errors=[6, 4, 6])
    rows = [replace(many, method="pixels"), replace(few, method="pprs-adam"), many, draws]
    page = write_report(rows, tmp_path).read_text()
    assert "smoothing before Adam, than Adam | -10.0 [-10.0, -10.0] | yes |" in page
    assert "than one draw before Adam | -6.7 [-35.4, +22.0] | cannot say |" in page
    append(tmp_path / "results.jsonl", [few])
    assert read(tmp_path / "results.jsonl") == [few]
    (tmp_path / "results.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl, line 1: not a result"):
        read(tmp_path / "results.jsonl")
