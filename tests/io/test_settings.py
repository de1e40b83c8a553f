"""Settings in a file, those of a real command."""

from pathlib import Path

import pytest
import tomli_w

from pprs.compare import CompareConfig
from pprs.io.settings import as_toml, read_settings


def written(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_a_file_sets_what_it_names_and_keeps_the_other_defaults(tmp_path):
    config = read_settings(
        CompareConfig,
        written(tmp_path, 'lr = 1\nmomentum = "nesterov"\nout = "x"\nmethods = ["gd", "agd"]\n'),
    )
    methods = ("gd", "agd")
    assert config == CompareConfig(lr=1, momentum="nesterov", out=Path("x"), methods=methods)


def test_the_settings_a_run_writes_give_the_same_settings(tmp_path):
    for config in (
        CompareConfig(),
        CompareConfig(stages=2, microbatches=6, methods=("gd", "pprs"), lr=0.1),
    ):
        assert (
            read_settings(CompareConfig, written(tmp_path, tomli_w.dumps(as_toml(config))))
            == config
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgima = 1.0", "unknown key 'sgima': did you mean 'sigma'"),
        ("zzz = 1.0", "unknown key 'zzz': there are model"),
        ("[table]\na = 1", "unknown key 'table'"),
        ('samples = "ten"', "samples must be int, got str 'ten'"),
        ("samples = 1.5", "samples must be int, got float 1.5"),
        ("samples = true", "samples must be int, got bool True"),
        ('methods = ["sgd"]', "methods must be .*sgd"),
        ("methods = 3", "methods must be"),
        ('schedule = "zb"', "schedule must be .*'zb'"),
        ("out = 3", "out must be Path, got int 3"),
        ("sigma = ", "not valid TOML"),
        ("sigma = -1.0", "sigma.*-1.0"),
    ],
)
def test_wrong_files_are_errors_that_name_the_key_and_the_value(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_settings(CompareConfig, path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.toml: No such file"):
        read_settings(CompareConfig, tmp_path / "nowhere.toml")
