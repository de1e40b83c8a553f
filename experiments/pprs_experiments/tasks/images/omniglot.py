"""Omniglot's files: the official one-shot runs, and the two minimal background sets."""

from __future__ import annotations

import functools
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pprs_experiments.tasks.files import read_bytes

SIDE = 28
_CHARACTERS = 20  # of a run, one image of each to learn from and one to test
_IMAGE = re.compile(r"images_background_small\d/([^/]+)/character(\d+)/\w+_(\d+)\.png$")


@dataclass(frozen=True)
class Background:
    """Drawings of characters of several alphabets, by twenty people each.

    Args:
        images: ink is 1, shape `(n, 1, SIDE, SIDE)`.
        alphabets: of each image.
        characters: of each image, numbered over all alphabets, shape `(n,)`.
        people: of each image; the same number is the same person within an alphabet.
    """

    images: Tensor
    alphabets: tuple[str, ...]
    characters: Tensor
    people: Tensor

    @property
    def names(self) -> list[str]:
        """The alphabets in their order."""
        return sorted(set(self.alphabets))

    def only(self, names: list[str]) -> Background:
        """The images of some alphabets, with their characters numbered anew."""
        kept = [i for i, name in enumerate(self.alphabets) if name in names]
        _, characters = torch.unique(self.characters[kept], return_inverse=True)
        alphabets = tuple(self.alphabets[i] for i in kept)
        return Background(self.images[kept], alphabets, characters, self.people[kept])


@dataclass(frozen=True)
class OneShot:
    """A task: learn twenty characters from one image each.

    Args:
        train: an image of each character, shape `(20, 1, side, side)`.
        test: other images of them, shape `(20, 1, side, side)`.
        answers: which character each of these is.
    """

    train: Tensor
    test: Tensor
    answers: Tensor


@functools.cache
def background(data_dir: Path, number: int) -> Background:
    """One of the two minimal background sets, of five alphabets.

    Args:
        data_dir: holds a folder `omniglot`.
        number: 1 or 2.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    file = data_dir / "omniglot" / f"images_background_small{number}.zip"
    opened = _opened(file)
    found = sorted(
        (each[1], int(each[2]), int(each[3]), each.string)
        for each in map(_IMAGE.match, opened.namelist())
        if each
    )
    if not found:
        raise ValueError(f"{file} is damaged: expected images of characters, found none")
    images = torch.stack([_image(opened, file, name, SIDE) for *_, name in found])
    numbers = {each: place for place, each in enumerate(dict.fromkeys(f[:2] for f in found))}
    return Background(
        images,
        tuple(alphabet for alphabet, *_ in found),
        torch.tensor([numbers[each[:2]] for each in found]),
        torch.tensor([person for *_, person, _ in found]),
    )


@functools.cache
def official_runs(data_dir: Path, side: int = SIDE) -> list[OneShot]:
    """The twenty runs of the official task.

    Args:
        data_dir: holds a folder `omniglot`.
        side: of the images; those of the files have 105 pixels.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    file = data_dir / "omniglot" / "all_runs.zip"
    opened = _opened(file)
    names = {name.partition("/")[0] for name in opened.namelist()}
    return [
        _run(opened, file, name, side) for name in sorted(names) if re.fullmatch(r"run\d\d", name)
    ]


def _run(opened: zipfile.ZipFile, file: Path, name: str, side: int) -> OneShot:
    def images(kind: str) -> Tensor:
        return torch.stack(
            [
                _image(opened, file, f"{name}/{kind}{i:02d}.png", side)
                for i in range(1, _CHARACTERS + 1)
            ]
        )

    pairs = re.findall(r"item(\d+)\.png \S+class(\d+)\.png", _member(opened, file, name).decode())
    answers = {int(item): int(label) - 1 for item, label in pairs}
    if sorted(answers) != list(range(1, _CHARACTERS + 1)):
        raise ValueError(f"{file} is damaged: expected {_CHARACTERS} answers in {name}")
    return OneShot(
        images("training/class"),
        images("test/item"),
        torch.tensor([answers[item] for item in sorted(answers)]),
    )


def _member(opened: zipfile.ZipFile, file: Path, run: str) -> bytes:
    try:
        return opened.read(f"{run}/class_labels.txt")
    except KeyError:
        raise ValueError(f"{file} is damaged: {run} has no class_labels.txt") from None


def _opened(file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(read_bytes(file)))
    except zipfile.BadZipFile:
        raise ValueError(f"{file} is damaged: expected a zip file") from None


def _image(opened: zipfile.ZipFile, file: Path, name: str, side: int) -> Tensor:
    """An image of 105×105 pixels, made smaller by averaging; ink is 1."""
    from PIL import Image

    try:
        pixels = np.array(Image.open(io.BytesIO(opened.read(name))).convert("L"), np.float32)
    except (KeyError, OSError):
        raise ValueError(f"{file} is damaged: {name} is no image") from None
    ink = torch.from_numpy(1 - pixels / 255)
    return F.adaptive_avg_pool2d(ink[None], side)
