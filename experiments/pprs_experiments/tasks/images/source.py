"""The data sets of images by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from pprs.compare.digits import BRIGHTEST, digits
from pprs.compare.examples import Examples
from pprs_experiments.tasks.convex.libsvm import SvmName, read_svm_examples
from pprs_experiments.tasks.images.cifar_10 import cifar_10
from pprs_experiments.tasks.images.fashion_mnist import fashion_mnist
from pprs_experiments.tasks.images.images import Images
from pprs_experiments.tasks.images.omniglot import background

ImageName: TypeAlias = Literal[
    "digits",
    "fashion-mnist",
    "cifar-10",
    "omniglot-latin",
    "omniglot-sanskrit",
    "mushrooms",
    "a9a",
]


def _alphabet(number: int, name: str) -> Callable[[Path], Images]:
    """The first ten characters of an alphabet."""

    def read(folder: Path) -> Images:
        data = background(folder.parent, number).only([name])
        pixels = (255 * data.images).round().to(torch.uint8)
        classes = int(data.characters.max()) + 1
        whole = Images(Examples(pixels, data.characters, classes), test=None, brightest=255)
        return whole.only(range(10))

    return read


def _features(name: SvmName) -> Callable[[Path], Images]:
    """Features of 0 and 1, as images of one row."""

    def read(folder: Path) -> Images:
        found = read_svm_examples(name, folder.parent)
        pixels = found.x.to(torch.uint8)[:, None, None]
        return Images(Examples(pixels, found.y, found.classes), test=None, brightest=1)

    return read


_READERS: Mapping[str, tuple[str, Callable[[Path], Images]]] = {
    "fashion-mnist": ("fashion-mnist", fashion_mnist),
    "cifar-10": ("cifar-10-batches-bin", cifar_10),
    "omniglot-latin": ("omniglot", _alphabet(1, "Latin")),
    "omniglot-sanskrit": ("omniglot", _alphabet(2, "Sanskrit")),
    "mushrooms": ("libsvm", _features("mushrooms")),
    "a9a": ("libsvm", _features("a9a")),
}


def read_images(name: ImageName, data_dir: Path | None = None) -> Images:
    """A data set of images.

    Args:
        name: `"digits"` is bundled with scikit-learn.
        data_dir: holds the folders `fashion-mnist`, `cifar-10-batches-bin`, `omniglot` and
            `libsvm`, or that of them that is asked for; digits need none.

    Raises:
        ValueError: for another name, or a file that is missing or damaged.
    """
    if name == "digits":
        return Images(digits(), test=None, brightest=BRIGHTEST)
    if name not in _READERS:
        *first, last = _READERS
        names = f"{', '.join(first)} or {last}"
        raise ValueError(f"images must be digits, {names}, got {name!r}")
    folder, read = _READERS[name]
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: name the folder that holds {folder}/ as data_dir"
        )
    return read(Path(data_dir) / folder)
