import pytest
import torch

from experiments.tasks.images.files import random_bytes, write_cifar, write_fashion
from pprs_experiments.tasks.images.source import read_images


def test_digits_need_no_folder():
    read = read_images("digits")
    assert read.train.x.shape == (1797, 1, 8, 8)
    assert read.train.x.max() == read.brightest == 16
    assert read.test is None


def test_files_lie_in_folders_of_their_own(tmp_path):
    part = random_bytes(4, 28, 28), random_bytes(4, below=10)
    write_fashion(tmp_path / "fashion-mnist", part, part)
    assert len(read_images("fashion-mnist", tmp_path).train) == 4
    write_cifar(
        tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin",
        random_bytes(4, 3, 32, 32),
        random_bytes(4, below=10),
    )
    with pytest.raises(ValueError, match="data_batch_1.bin is damaged: expected 30730000 bytes"):
        read_images("cifar-10", tmp_path)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar-10"])
def test_a_folder_must_be_named(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is read from files: name the folder.*data_dir"):
        read_images(name)
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}.*data_dir must name the folder"):
        read_images(name, tmp_path)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="images must be digits, fashion-mnist or cifar-10, got"):
        read_images("mnist")


def test_pixels_become_numbers_from_0_to_1():
    read = read_images("digits")
    numbers = read.as_numbers(read.train, torch.float64)
    assert numbers.x.min() == 0
    assert numbers.x.max() == 1
    assert torch.equal(numbers.x * 16, read.train.x.double())


def test_some_classes_of_both_parts(tmp_path):
    labels = random_bytes(40, below=10)
    part = random_bytes(40, 28, 28), labels
    write_fashion(tmp_path / "fashion-mnist", part, part)
    some = read_images("fashion-mnist", tmp_path).only([3, 7])
    for examples in (some.train, some.test):
        assert examples.y.bincount().tolist() == [(labels == 3).sum(), (labels == 7).sum()]
