"""Where compiled code is kept, and that nobody else's is loaded."""

import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pprs.smoothing import has_native_kernels
from pprs.smoothing.native import build

pytestmark = pytest.mark.skipif(not has_native_kernels(), reason="there is no C compiler here")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A home and a temporary folder of one's own, and a source that is quick to build."""
    source = tmp_path / "source" / "kernels.c"
    source.parent.mkdir()
    source.write_text("int works(void) { return 7; }")
    source.with_name("rows.h").touch()
    monkeypatch.setattr(build, "_SOURCE", source)
    above, guarded = tmp_path.resolve().parents, build._guarded  # wherever tests have their folders
    monkeypatch.setattr(build, "_guarded", lambda folder: folder in above or guarded(folder))
    (tmp_path / "tmp").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


@pytest.fixture
def loaded(monkeypatch):
    """The libraries that were loaded."""
    found, load = [], build.ctypes.CDLL

    def recording(path):
        found.append(Path(path))
        return load(path)

    monkeypatch.setattr(build.ctypes, "CDLL", recording)
    return found


def works(library):
    return library is not None and library.works() == 7


def test_a_library_is_built_once_and_kept_where_only_its_owner_writes(
    tmp_path, loaded, monkeypatch
):
    assert works(build.load())
    with monkeypatch.context() as without:
        without.setattr(build, "_run", None)
        assert works(build.load())
    (kept,) = set(loaded)
    assert kept.parent == tmp_path / "cache" / "pprs"
    assert [path.stat().st_mode & 0o777 for path in (kept, *kept.parents[:2])] == [0o700] * 3


def belongs_to_somebody_else(path, monkeypatch):
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        number = os.geteuid() + 1
        monkeypatch.setattr(build.os, "geteuid", lambda: number)


def is_a_link(path, monkeypatch):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


WAYS = {
    "its folder is another's": lambda file, patch: belongs_to_somebody_else(file.parent, patch),
    "it is another's": belongs_to_somebody_else,
    "all may write to its folder": lambda file, patch: file.parent.chmod(0o777),
    "a group may write to its folder": lambda file, patch: file.parent.chmod(0o770),
    "all may write to a folder above": lambda file, patch: file.parent.parent.chmod(0o777),
    "its folder is a link": lambda file, patch: is_a_link(file.parent, patch),
    "all may write to it": lambda file, patch: file.chmod(0o777),
    "it is a link": is_a_link,
    "it was cut short": lambda file, patch: file.write_bytes(file.read_bytes()[:5000]),
    "it is empty": lambda file, patch: file.write_bytes(b""),
    "it is something else": lambda file, patch: file.write_bytes(b"not a library"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_library_that_others_may_have_changed_is_never_loaded(way, monkeypatch):
    # Built only: a library that is in use must not be cut short.
    kept = build._kept(next(build._folders()), build._compiler(), build._FLAGS[0])
    WAYS[way](kept, monkeypatch)
    os.utime(kept, (1, 1))
    times, load = [], build.ctypes.CDLL

    def recording(path):
        times.append(Path(path).stat().st_mtime)
        return load(path)

    monkeypatch.setattr(build.ctypes, "CDLL", recording)
    assert works(build.load())
    assert times
    assert 1 not in times


def test_a_sticky_folder_that_all_write_to_may_hold_one_s_own(tmp_path, loaded):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o1777)
    assert works(build.load())
    assert loaded[0].parent == tmp_path / "cache" / "pprs"


def test_with_no_safe_folder_a_fresh_one_is_used_and_removed(tmp_path, loaded):
    for folder in (tmp_path / "cache" / "pprs", tmp_path / "tmp" / f"pprs-{os.geteuid()}"):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    assert works(build.load())
    assert loaded[0].parent.parent == tmp_path / "tmp"
    assert not loaded[0].exists()


def test_a_home_that_cannot_be_written_to_is_done_without(tmp_path, loaded, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    assert works(build.load())
    assert loaded[0].parent == tmp_path / "tmp" / f"pprs-{os.geteuid()}"


def test_a_relative_cache_folder_is_ignored(tmp_path, loaded, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert works(build.load())
    assert loaded[0].parent == tmp_path / "home" / ".cache" / "pprs"
    assert not (tmp_path / "relative").exists()


@pytest.mark.parametrize("compiler", ["cc -g", "env cc", "no-such-compiler", "cc 'open", "", " "])
def test_cc_may_have_arguments_and_may_name_nothing(compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    assert works(build.load())


def test_where_nothing_can_be_built_there_is_no_library(tmp_path, monkeypatch):
    def full(command):
        raise subprocess.CalledProcessError(1, command, stderr=b"No space left on device")

    monkeypatch.setattr(build, "_run", full)
    assert build.load() is None
    assert [*tmp_path.rglob("*.so")] == []


def test_two_builds_at_once_leave_one_library(tmp_path):
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: build.load(), range(2)))
    assert all(map(works, found))
    assert len([*(tmp_path / "cache" / "pprs").iterdir()]) == 1
