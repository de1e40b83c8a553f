"""Where a process is, for messages about it."""

import pytest

from pprs.pipeline.launcher import last_progress, progress, report_progress
from pprs.pipeline.launcher.progress import FOLDER, read_progress


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(progress._Here, "file", None)
    yield
    report_progress([], 0)


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
    report_progress(stages, 7)
    assert last_progress() == text


def test_the_launcher_reads_the_last_report_also_if_it_is_shorter(tmp_path, monkeypatch):
    assert read_progress(tmp_path, 1) == ""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("RANK", "1")
    report_progress([0, 2, 4], 123)
    assert read_progress(tmp_path, 1) == "stages 0, 2 and 4, step 123"
    report_progress([1], 7)
    assert read_progress(tmp_path, 1) == "stage 1, step 7"
