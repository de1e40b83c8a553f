import pytest

pytest.importorskip("optuna")

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pprs_experiments.study import storage
from pprs_experiments.study.storage import open_storage

READ = text("SELECT COUNT(*) FROM trials")


def test_who_reads_holds_off_others_until_it_has_written(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_PATIENCE", 0.01)
    one, other = (open_storage(f"sqlite:///{tmp_path}/study.db").engine for _ in range(2))
    with one.begin() as first:
        assert first.execute(READ).scalar() == 0
        with pytest.raises(OperationalError, match="database is locked"), other.begin() as second:
            second.execute(READ)
    with other.begin() as second:
        assert second.execute(READ).scalar() == 0


def test_a_storage_that_cannot_be_opened_is_refused(tmp_path):
    for wrong in (f"sqlite:///{tmp_path}/none/study.db", "study.db", "nosql://here"):
        with pytest.raises(ValueError, match=f"cannot open the storage {wrong}: "):
            open_storage(wrong)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_memory_that_no_other_process_sees_is_refused(url):
    with pytest.raises(ValueError, match=f"cannot share {url}, which is in memory: name a file"):
        open_storage(url)
