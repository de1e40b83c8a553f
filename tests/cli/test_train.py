import pytest

from pprs.cli.train import parse

NAMED = ["--model", "a:b", "--data", "a:c"]


@pytest.fixture
def run(tmp_path):
    """The folder of a run with one setting in its file and one checkpoint."""
    (tmp_path / "checkpoints" / "000001-step-3").mkdir(parents=True)
    (tmp_path / "config.toml").write_text(
        'model = "a:b"\ndata = "a:c"\nsteps = 7\nlr = 0.5\n[used]\nlr = 0.7\nnovel = 3\n'
    )
    return tmp_path


def test_flags_win_over_a_file_that_need_not_be_complete(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("lr = 0.5\nstages = 4\ncut = ['x', 'y', 'z']\n")
    config = parse([*NAMED, "--config", str(file), "--lr", "0.25", "--steps", "3"])
    assert (config.lr, config.stages, config.cut, config.model) == (0.25, 4, ("x", "y", "z"), "a:b")


@pytest.mark.parametrize("where", [".", "checkpoints/000001-step-3"])
def test_a_run_gives_the_defaults_of_going_on(run, where):
    config = parse(["--resume", str(run / where), "--stages", "3"])
    assert (config.lr, config.steps, config.stages) == (0.5, 7, 3)
    assert config.resume == run / where


@pytest.mark.parametrize("flags", [["--epochs", "2"], ["--epochs=2"]])
def test_another_kind_of_length_replaces_that_of_the_run(run, flags):
    config = parse(["--resume", str(run), *flags])
    assert (config.steps, config.epochs) == (None, 2)


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"cannot go on from {tmp_path}"):
        parse(["--resume", str(tmp_path)])
    with pytest.raises(ValueError, match="pass one of them"):
        parse(["--resume", str(tmp_path), "--config", "c.toml"])
