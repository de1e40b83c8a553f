"""The data sets of images by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pprs.compare.digits import BRIGHTEST, digits
from pprs_experiments.tasks.images.cifar_10 import cifar_10
from pprs_experiments.tasks.images.fashion_mnist import fashion_mnist
from pprs_experiments.tasks.images.images import Images

ImageName: TypeAlias = Literal["digits", "fashion-mnist", "cifar-10"]

_READERS: Mapping[str, tuple[str, Callable[[Path], Images]]] = {
    "fashion-mnist": ("fashion-mnist", fashion_mnist),
    "cifar-10": ("cifar-10-batches-bin", cifar_10),
}


def read_images(name: ImageName, data_dir: Path | None = None) -> Images:
    """A data set of images.

    Args:
        name: `"digits"` is bundled with scikit-learn.
        data_dir: holds the folders `fashion-mnist` and `cifar-10-batches-bin`; digits need
            none.

    Raises:
        ValueError: for another name, or a file that is missing or damaged.
    """
    if name == "digits":
        return Images(digits(), test=None, brightest=BRIGHTEST)
    if name not in _READERS:
        raise ValueError(f"images must be digits, {' or '.join(_READERS)}, got {name!r}")
    folder, read = _READERS[name]
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: name the folder that holds {folder}/ as data_dir"
        )
    return read(Path(data_dir) / folder)
