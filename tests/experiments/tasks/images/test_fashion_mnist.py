import pytest
import torch

from experiments.tasks.images.files import random_bytes, write_fashion, write_idx
from experiments.tasks.real import DATA, needs_data
from pprs_experiments.tasks.images.fashion_mnist import fashion_mnist

TRAIN = random_bytes(30, 28, 28), random_bytes(30, below=10, seed=1)
TEST = random_bytes(20, 28, 28, seed=2), random_bytes(20, below=10, seed=3)


def test_images_are_read_with_their_labels(tmp_path):
    write_fashion(tmp_path, TRAIN, TEST)
    read = fashion_mnist(tmp_path)
    for part, (images, labels) in ((read.train, TRAIN), (read.test, TEST)):
        assert torch.equal(part.x, images[:, None])
        assert torch.equal(part.y, labels.long())
        assert part.classes == 10
    assert read.brightest == 255


def refused(folder, name, says):
    with pytest.raises(ValueError, match=says) as caught:
        fashion_mnist(folder)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", ["train-images-idx3", "t10k-labels-idx1"])
def test_a_missing_file_is_named(tmp_path, name):
    write_fashion(tmp_path, TRAIN, TEST)
    (tmp_path / f"{name}-ubyte.gz").unlink()
    refused(tmp_path, f"{name}-ubyte.gz", "No such file")


def test_a_label_that_there_is_not_is_named(tmp_path):
    labels = TRAIN[1].clone()
    labels[12] = 10
    write_fashion(tmp_path, (TRAIN[0], labels), TEST)
    says = "expected labels from 0 to 9, found 10 at number 12"
    refused(tmp_path, "train-labels-idx1-ubyte.gz", says)


def test_images_of_another_size_are_refused(tmp_path):
    write_fashion(tmp_path, TRAIN, (random_bytes(20, 28, 27), TEST[1]))
    says = "expected images of 28 x 28 pixels, found 28 x 27"
    refused(tmp_path, "t10k-images-idx3-ubyte.gz", says)


def test_labels_of_other_images_are_refused(tmp_path):
    write_fashion(tmp_path, TRAIN, TEST)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", TEST[1])
    says = "does not belong to train-images-idx3-ubyte.gz: expected 30 labels.*found 20"
    refused(tmp_path, "train-labels-idx1-ubyte.gz", says)


def test_no_images_at_all_are_refused(tmp_path):
    write_fashion(tmp_path, (random_bytes(0, 28, 28), random_bytes(0)), TEST)
    refused(tmp_path, "train-labels-idx1-ubyte.gz", "expected at least one label, found none")


@needs_data
def test_the_official_files_have_6000_images_of_every_class():
    read = fashion_mnist(DATA / "fashion-mnist")
    assert read.train.x.shape == (60_000, 1, 28, 28)
    assert read.train.y.bincount().tolist() == [6000] * 10
    assert read.test.y.bincount().tolist() == [1000] * 10
    # The mean brightness that is known of the training images.
    assert read.train.x.float().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)
