import os
import stat
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from pprs.io.files import replacing


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def test_a_file_has_the_permissions_of_a_new_one_whatever_writes_it(tmp_path, umask):
    file = tmp_path / "file"
    for _ in range(2):  # new, and replaced
        with replacing(file) as partial:
            save_file({"x": torch.ones(2)}, partial)  # which makes it the user's alone
        assert mode(file) == 0o666 & ~umask


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    file = tmp_path / "file"
    with suppress(FileNotFoundError), replacing(file) as partial:
        partial.unlink()
    partial.write_text("half")
    partial.chmod(0o600)
    with replacing(file) as again:
        assert (again, again.read_text()) == (partial, "")
    umasked = tmp_path / "new"
    umasked.touch()
    assert mode(file) == mode(umasked)


def test_what_was_there_stays_until_all_is_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(file) as partial:
        partial.write_text("ne")
        assert file.read_text() == "old"
        raise OSError("full")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
