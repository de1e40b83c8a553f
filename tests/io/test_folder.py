import json
import math

import pytest

from pprs.io.folder import Log, claim, to_json


def test_an_existing_run_is_never_taken(tmp_path):
    folders = [claim(tmp_path / "runs", "a") for _ in range(3)]
    assert [f.name for f in folders] == ["a", "a-2", "a-3"]
    assert all(f.is_dir() for f in folders)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ValueError, match=r"cannot write runs to .*runs"):
        claim(tmp_path / "runs", "a")


def test_each_line_is_there_at_once_and_strict_json(tmp_path):
    log = Log(tmp_path / "log")
    log.write({"a": math.nan, "b": 1.5})
    assert json.loads((tmp_path / "log").read_text()) == {"a": None, "b": 1.5}
    log.close()
    assert to_json({"x": [math.inf, (1, 2)]}) == '{"x": [null, [1, 2]]}'
