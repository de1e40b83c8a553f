import pytest
import torch

from experiments.tasks.images.files import random_bytes, write_cifar
from experiments.tasks.real import DATA, needs_data
from pprs_experiments.tasks.images.cifar_10 import cifar_10

FIRST = random_bytes(20, 3, 32, 32), random_bytes(20, below=10, seed=1)
SECOND = random_bytes(20, 3, 32, 32, seed=2), random_bytes(20, below=10, seed=3)


def write(folder, first=FIRST, second=SECOND):
    write_cifar(folder / "data_batch_1.bin", *first)
    write_cifar(folder / "data_batch_2.bin", *second)


def test_the_second_batch_is_held_out_for_testing(tmp_path):
    write(tmp_path)
    read = cifar_10(tmp_path, images=20)
    for part, (images, labels) in ((read.train, FIRST), (read.test, SECOND)):
        assert torch.equal(part.x, images)
        assert torch.equal(part.y, labels.long())
    assert read.brightest == 255


def refused(folder, name, says):
    with pytest.raises(ValueError, match=says) as caught:
        cifar_10(folder, images=20)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", ["data_batch_1.bin", "data_batch_2.bin"])
def test_a_missing_file_is_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    refused(tmp_path, name, "No such file")


@pytest.mark.parametrize("lost", [1, 3073, 3073 * 20])
def test_a_truncated_file_is_refused(tmp_path, lost):
    write(tmp_path)
    file = tmp_path / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-lost])
    says = f"expected 61460 bytes, 20 records of 3073, found {61460 - lost}"
    refused(tmp_path, file.name, says)


def test_a_label_that_there_is_not_is_named(tmp_path):
    labels = SECOND[1].clone()
    labels[7] = 200
    write(tmp_path, second=(SECOND[0], labels))
    refused(tmp_path, "data_batch_2.bin", "expected labels from 0 to 9, found 200 at number 7")


@needs_data
def test_the_official_files_have_10000_images_each():
    read = cifar_10(DATA / "cifar-10-batches-bin")
    assert read.train.x.shape == read.test.x.shape == (10_000, 3, 32, 32)
    assert read.train.y.bincount().min() > 900
    # The first image is a frog.
    assert read.train.y[0] == 6
