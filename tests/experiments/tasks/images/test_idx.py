import gzip

import pytest
import torch

from experiments.tasks.images.files import idx, random_bytes, write_idx
from pprs_experiments.tasks.images.idx import read_idx

ARRAY = random_bytes(5, 3, 4)


def test_the_bytes_come_back_in_their_shape(tmp_path):
    for array in (ARRAY, random_bytes(7), random_bytes(0, 2, 2)):
        write_idx(tmp_path / "x.gz", array)
        assert torch.equal(read_idx(tmp_path / "x.gz", array.dim()), array)


def refused(file, dimensions, says):
    with pytest.raises(ValueError, match=says) as caught:
        read_idx(file, dimensions)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "sub" / "x.gz", 3, "No such file.*data_dir must name the folder.*sub/x.gz")


@pytest.mark.parametrize("kept", [1, 12, 40, -8, -1])
def test_a_truncated_download_is_refused(tmp_path, kept):
    content = gzip.compress(idx(ARRAY), mtime=0)
    (tmp_path / "x.gz").write_bytes(content[:kept])
    refused(tmp_path / "x.gz", 3, "expected one whole gzip file, found .* bytes")


def test_every_flipped_byte_of_the_compressed_data_is_found(tmp_path):
    content = gzip.compress(idx(ARRAY), mtime=0)
    for place in range(10, len(content)):  # before that, the header says nothing about the data
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / "x.gz").write_bytes(damaged)
        refused(tmp_path / "x.gz", 3, "is damaged")


def test_a_file_that_is_not_compressed_is_refused(tmp_path):
    (tmp_path / "x.gz").write_bytes(idx(ARRAY))
    refused(tmp_path / "x.gz", 3, "expected one whole gzip file.*Not a gzipped file")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected the magic number 0x00000803 .*found nothing"),
        (idx(ARRAY)[:3], "expected the magic number 0x00000803 .*found 00 00 08"),
        (idx(random_bytes(7)), "magic number 0x00000803 .*3 dimensions.*found 00 00 08 01"),
        (idx(ARRAY)[:9], "expected a header of 16 bytes, found 9"),
        (idx(ARRAY)[:-1], "expected 60 bytes for the sizes 5 x 3 x 4 that it tells, found 59"),
        (idx(ARRAY) + b"x", "expected 60 bytes .*found 61"),
    ],
)
def test_damage_inside_is_named_with_what_was_expected_and_found(tmp_path, content, says):
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    refused(tmp_path / "x.gz", 3, says)
