"""A rank's file is that of safetensors, and comes to the disk piece by piece."""

import hashlib

import pytest
import safetensors.torch
import torch
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from pipeline.checkpoint.contents import bits, tensors_of_all_types

from pprs.pipeline.checkpoint import shard
from pprs.pipeline.checkpoint.shard import write_shard


@tries(60)
@given(
    st.dictionaries(st.text(max_size=9), tensors_of_all_types(), min_size=1, max_size=4),
    st.integers(1, 70),
)
def test_a_shard_is_what_safetensors_writes_whatever_the_pieces(tmp_path_factory, tensors, piece):
    folder = tmp_path_factory.mktemp("shard")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard, "_PIECE", piece)
        files, entries = write_shard(folder, 3, tensors)
    written = (folder / "rank-3.safetensors").read_bytes()
    assert written == safetensors.torch.save(tensors)
    assert files == {"rank-3.safetensors": len(written)}
    assert entries.keys() == tensors.keys()
    for name, tensor in tensors.items():
        checksum = hashlib.sha256(bytes(bits(tensor))).hexdigest()
        assert entries[name]["sha256"] == checksum


def test_a_shard_is_brought_to_the_disk_piece_by_piece(tmp_path, monkeypatch):
    settle, sizes = shard.settle, []

    def noted(file):
        settle(file)
        sizes.append((tmp_path / "rank-0.safetensors").stat().st_size)

    monkeypatch.setattr(shard, "_PIECE", 4000)
    monkeypatch.setattr(shard, "settle", noted)
    tensors = {"long": torch.ones(4000), **{f"short {i}": torch.ones(100) for i in range(20)}}
    write_shard(tmp_path, 0, tensors)
    assert len(sizes) >= 6
    assert all(after - before <= 8000 for before, after in zip([0, *sizes], sizes, strict=False))
    assert sizes[-1] == len(safetensors.torch.save(tensors))
