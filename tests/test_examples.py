"""The examples run as they stand, and what they print is as good as their pages say."""

import json
import re
import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import warm

EXAMPLES = Path(__file__).parent.parent / "examples"
# Lightning's own of torch.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*isinstance.treespec")]


def lines(script):
    """What a script prints."""
    shown = StringIO()
    with redirect_stdout(shown):
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    return shown.getvalue().splitlines()


def percents(line):
    return [float(found) for found in re.findall(r"([\d.]+)%", line)]


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps the settings of its first user in a process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_loop_learns():
    *losses, last = lines("loop.py")
    values = [float(line.rpartition(" ")[2]) for line in losses]
    assert values[2] < values[0] / 5
    assert percents(last)[0] > 65


def test_any_optimizer_takes_smoothed_gradients():
    _, *rows = lines("any_optimizer.py")
    assert len(rows) == 5
    for row in rows:
        smoothed, plain = percents(row)
        assert min(smoothed, plain) > 55, row


def test_the_norm_is_minimised_nearly_to_the_exact_minimum():
    first, *rows = lines("minimize_norm.py")
    start, minimum = map(float, re.findall(r"\d\.\d{4}", first))
    found = [float(*re.findall(r"\d\.\d{4}", row)) for row in rows]
    assert minimum < found[0] < minimum + 0.02 * (start - minimum)
    assert found[0] < min(found[1:])


def test_the_attack_changes_what_is_read_by_little():
    first, *rows = lines("attack.py")
    assert first.startswith("read as 1,")
    for row in rows:
        assert "read as 7" in row
        assert percents(row)[0] < 8


@pytest.mark.usefixtures("fresh_accelerate")
def test_bert_learns_in_hugging_faces_trainer():
    before, after = percents(lines("hf_trainer.py")[-1])
    assert before < 65
    assert after > 90


@pytest.mark.usefixtures("fresh_accelerate")
def test_a_network_learns_with_accelerate():
    assert percents(lines("accelerate_loop.py")[-1])[0] > 65


def test_a_network_learns_in_lightning_both_ways():
    rows = lines("lightning_loop.py")
    assert len(rows) == 2
    assert all(percents(row)[0] > 55 for row in rows)


def test_adversarial_training_helps_under_attack_and_smoothing_as_little_as_it_says():
    plain, adversarial, smoothed, said = lines("adversarial.py")
    assert percents(adversarial)[1] > percents(plain)[1] + 5
    assert abs(percents(smoothed)[1] - percents(adversarial)[1]) < 5
    assert "no gain" in said


@pytest.mark.dist
def test_two_processes_train_the_stages_of_a_model(tmp_path):
    ranks = warm.torchrun(2, str(EXAMPLES / "two_stages.py"), cwd=tmp_path)
    assert [done.returncode for done in ranks] == [0, 0], ranks
    first, last = (done.stdout for done in ranks)
    assert "process 0 trained first.weight" in first
    assert "last.bias" in last
    assert percents(last.splitlines()[-1])[0] > 65


@pytest.mark.dist
def test_bert_learns_over_two_stages_in_the_same_script_with_another_trainer(tmp_path):
    script = (EXAMPLES / "hf_trainer.py").read_text()
    (tmp_path / "script.py").write_text(script.replace("SmoothedTrainer", "PipelinedTrainer"))
    ranks = warm.torchrun(2, "script.py", cwd=tmp_path)
    assert [done.returncode for done in ranks] == [0, 0], ranks
    (before, after), same = (percents(done.stdout.splitlines()[-1]) for done in ranks)
    assert [before, after] == same
    assert before < 65
    assert after > 90


@pytest.mark.dist
def test_three_lines_of_a_loop_with_accelerate_make_it_a_pipeline(tmp_path):
    script = (EXAMPLES / "accelerate_loop.py").read_text()
    for line, instead in (
        ("from accelerate import A", "from pprs.integrations import PipelinedA"),
        ("accelerator = A", "accelerator = PipelinedA"),
        (
            "pprs.smooth(lambda: cross_entropy(model(x_batch), y_batch), model)",
            "accelerator.loss(model, cross_entropy, x_batch, y_batch)",
        ),
    ):
        assert line in script
        script = script.replace(line, instead)
    (tmp_path / "script.py").write_text(script)
    ranks = warm.torchrun(2, "script.py", cwd=tmp_path)
    assert [done.returncode for done in ranks] == [0, 0], ranks
    first, second = (percents(done.stdout.splitlines()[-1]) for done in ranks)
    assert first == second
    assert first[0] > 65


def test_the_notebook_prints_what_it_shows(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = json.loads((EXAMPLES / "theory.ipynb").read_text())["cells"]
    names = {}
    for cell in (c for c in cells if c["cell_type"] == "code"):
        shown = StringIO()
        with redirect_stdout(shown):
            exec("".join(cell["source"]), names)
        streams = (o["text"] for o in cell["outputs"] if o["output_type"] == "stream")
        assert shown.getvalue() == "".join("".join(text) for text in streams)


def test_all_examples_are_listed_and_tried_here():
    page, here = (EXAMPLES / "README.md").read_text(), Path(__file__).read_text()
    for file in EXAMPLES.iterdir():
        if file.suffix in (".py", ".ipynb"):
            assert f"]({file.name})" in page, file.name
            assert f'"{file.name}"' in here, file.name
