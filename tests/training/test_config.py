from pathlib import Path

import pytest
import tomli_w

from pprs.training import TrainConfig, read_config


def written(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_a_file_sets_what_it_names_and_keeps_the_other_defaults(tmp_path):
    config = read_config(
        written(tmp_path, 'lr = [0.1, 1]\nmomentum = "nesterov"\nout = "x"\nmicrobatches = 5\n')
    )
    assert config == TrainConfig(lr=(0.1, 1), momentum="nesterov", out=Path("x"), microbatches=5)


def test_the_settings_a_run_writes_give_the_same_settings(tmp_path):
    for config in (TrainConfig(), TrainConfig(microbatches=5, methods=("gd", "pprs"), lr=(0.1,))):
        assert read_config(written(tmp_path, tomli_w.dumps(config.as_toml()))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgima = 1.0", "unknown key 'sgima': did you mean 'sigma'"),
        ("zzz = 1.0", "unknown key 'zzz': there are name"),
        ("[table]\na = 1", "unknown key 'table'"),
        ('samples = "ten"', "samples must be int, got str 'ten'"),
        ("samples = 1.5", "samples must be int, got float 1.5"),
        ("samples = true", "samples must be int, got bool True"),
        ('methods = ["sgd"]', "methods must be .*sgd"),
        ("methods = 3", "methods must be"),
        ('schedule = "zb"', "schedule must be .*'zb'"),
        ("name = 3", "name must be str, got int 3"),
        ("sigma = ", "not valid TOML"),
        ("sigma = -1.0", "sigma.*-1.0"),
    ],
)
def test_wrong_files_are_errors_that_name_the_key_and_the_value(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.toml: No such file"):
        read_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(seeds=0), "seeds must be at least 1, got 0"),
        (dict(stages=3, depth=2), "depth 2 and 3 stages"),
        (dict(methods=("gd", "gd")), "each method once"),
        (dict(samples=10, microbatches=3), "possible are 1, 2, 5, 10"),
        (dict(schedule="1f1b", microbatches=1, stages=2, samples=4, depth=4), None),
        (dict(schedule="1f1b", microbatches=2, stages=4), "2 microbatches for 4 stages"),
        (dict(budget=57), "budget must pay for a step.*58, got 57"),
        (dict(name="a/b"), "single folder"),
        (dict(lr=(0.1, -1.0)), "positive step sizes, got -1.0"),
        (dict(shots=1), "shots=1"),
        (dict(shots=1, lr=(0.1,)), None),
        (dict(momentum=-0.5), "momentum.*-0.5"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message):
    if message is None:
        TrainConfig(**options)
    else:
        with pytest.raises(ValueError, match=message):
            TrainConfig(**options)
