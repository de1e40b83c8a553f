import pytest
import torch

from experiments.tasks.images.files import random_bytes, write_cifar, write_fashion
from pprs.compare.examples import Examples
from pprs_experiments.tasks.images import source
from pprs_experiments.tasks.images.omniglot import Background
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


def test_features_of_zero_and_one_are_images_of_one_row(monkeypatch, tmp_path):
    examples = Examples(torch.eye(4, 6, dtype=torch.float64), torch.tensor([0, 1, 1, 0]), classes=2)
    monkeypatch.setattr(source, "read_svm_examples", lambda name, folder: examples)
    read = read_images("a9a", tmp_path)
    assert torch.equal(read.as_numbers(read.train, torch.float64).x[:, 0, 0], examples.x)
    assert torch.equal(read.train.y, examples.y)


def test_of_an_alphabet_there_are_ten_characters(monkeypatch, tmp_path):
    characters = torch.arange(12).repeat_interleave(2)
    images = torch.rand(24, 1, 28, 28)
    held = Background(images, ("Latin",) * 24, characters, torch.arange(24) % 2)
    monkeypatch.setattr(source, "background", lambda folder, number: held)
    read = read_images("omniglot-latin", tmp_path)
    assert (read.train.classes, len(read.train)) == (10, 20)
    found = read.as_numbers(read.train, torch.float32)
    order = torch.argsort(found.y, stable=True)
    torch.testing.assert_close(found.x[order], images[:20], atol=1 / 255, rtol=0)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar-10", "omniglot-latin", "mushrooms"])
def test_a_folder_must_be_named(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is read from files: name the folder.*data_dir"):
        read_images(name)
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}.*data_dir must name the folder"):
        read_images(name, tmp_path)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="images must be digits, fashion-mnist, .* or a9a, got"):
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
