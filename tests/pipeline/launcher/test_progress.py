"""Where a process is, for messages about it."""

import pytest

from pprs.pipeline.launcher import progress, report, whereabouts
from pprs.pipeline.launcher.progress import FOLDER, read_whereabouts


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(progress._Here, "file", None)
    yield
    report([], 0)


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([1], "stage 1, step 7"),
        ([0, 3], "stages 0 and 3, step 7"),
        ([0, 2, 4], "stages 0, 2 and 4, step 7"),
        ([], ""),
    ],
)
def test_stages_and_step_are_told_in_words(stages, text):
    report(stages, 7)
    assert whereabouts() == text


def test_the_launcher_reads_the_last_report_also_if_it_is_shorter(tmp_path, monkeypatch):
    assert read_whereabouts(tmp_path, 1) == ""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("RANK", "1")
    report([0, 2, 4], 123)
    assert read_whereabouts(tmp_path, 1) == "stages 0, 2 and 4, step 123"
    report([1], 7)
    assert read_whereabouts(tmp_path, 1) == "stage 1, step 7"
