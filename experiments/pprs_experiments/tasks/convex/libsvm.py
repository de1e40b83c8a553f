"""Data sets for support vector machines, in the LIBSVM text format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch

from pprs.compare.examples import Examples
from pprs_experiments.tasks.files import read_bytes

SvmName: TypeAlias = Literal["a9a", "mushrooms"]


@dataclass(frozen=True)
class Contents:
    """What a file has to hold.

    Args:
        examples: number of lines.
        features: the largest number that a feature can have.
        nonzeros: number of features of all examples together.
        labels: those of class 0 and of class 1.
    """

    examples: int
    features: int
    nonzeros: int
    labels: tuple[int, int]


_CONTENTS: Mapping[str, Contents] = {
    "a9a": Contents(32_561, 123, 451_592, (-1, 1)),
    "mushrooms": Contents(8_124, 112, 170_604, (1, 2)),
}


def read_svm_examples(name: SvmName, data_dir: Path) -> Examples:
    """A data set of two classes.

    Args:
        name: of the data set.
        data_dir: holds a folder `libsvm` with a file of this name.

    Returns:
        Examples with x of shape `(n, features)` and type float64.

    Raises:
        ValueError: for another name, or a file that is missing or damaged.
    """
    if name not in _CONTENTS:
        raise ValueError(f"data must be {' or '.join(_CONTENTS)}, got {name!r}")
    return read_libsvm(Path(data_dir) / "libsvm" / name, _CONTENTS[name])


def read_libsvm(file: Path, expected: Contents) -> Examples:
    """The examples of a file.

    Raises:
        ValueError: if it is missing, or does not hold what it has to.
    """
    from sklearn.datasets import load_svmlight_file

    content = read_bytes(file)
    try:
        matrix, labels = load_svmlight_file(
            BytesIO(content), n_features=expected.features, zero_based=False
        )
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{file} is damaged: expected LIBSVM text with features from 1 to "
            f"{expected.features}, found: {error}"
        ) from error
    _check(file, "examples", expected.examples, len(labels))
    _check(file, "non-zero features", expected.nonzeros, matrix.nnz)
    _check(file, "finite features", matrix.nnz, int(np.isfinite(matrix.data).sum()))
    odd = labels[~np.isin(labels, expected.labels)]
    if len(odd):
        raise ValueError(
            f"{file} is damaged: expected the labels {expected.labels[0]} and "
            f"{expected.labels[1]}, found {odd[0]:g}"
        )
    classes = torch.from_numpy(labels == expected.labels[1]).to(torch.int64)
    return Examples(torch.from_numpy(matrix.toarray()), classes, classes=2)


def _check(file: Path, what: str, expected: int, found: int) -> None:
    if found != expected:
        raise ValueError(f"{file} is damaged: expected {expected} {what}, found {found}")
