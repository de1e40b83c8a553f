"""Fit the constants of pprs/smoothing/_cost.py to times measured on this machine.

An argument names the device, "cpu" or "cuda".
"""

from __future__ import annotations

import random
import sys

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from benchmarks.gradient.main import timed as timed_on
from pprs.smoothing import Noise, Perturbation, at_perturbed, force_way
from pprs.smoothing._cost import LinearShape, Way, features

REPEATS = 5
WAYS: tuple[Way, ...] = ("implicit", "materialised")


def timed(layer: nn.Module, x: Tensor, count: int, way: Way) -> float:
    law = Perturbation(0.01, count)
    device = torch.get_default_device()
    parameters = dict(layer.named_parameters())
    samples = law.samples_of(count, 1)

    def run() -> None:
        targets = law.targets(parameters, law.sigmas(parameters, 0), Noise(0, 0), samples)
        with force_way(way):
            at_perturbed(layer, targets, samples, x, watched=False).sum().backward()

    timed_on(run, device)
    return float(np.median([timed_on(run, device) for _ in range(REPEATS)]))


def linear_case() -> tuple[LinearShape, nn.Module, Tensor]:
    large = torch.get_default_device().type == "cuda"
    streams, rows = (
        random.choice([4, 16, 64 if large else 32]),
        random.choice([1, 4, 8, 16, 32, 64, 128, 256]),
    )
    widths = [256, 512, 1024, 2048, 4096] if large else [64, 128, 256, 512, 1024, 2048]
    inputs, outputs = random.choices(widths, k=2)
    needed = random.random() < 0.8
    x = torch.randn(streams, rows, inputs, requires_grad=needed)
    layer = nn.Linear(inputs, outputs, bias=False)
    return LinearShape(streams, rows, inputs, outputs, needed), layer, x


def conv_case() -> tuple[LinearShape, nn.Module, Tensor]:
    streams, batch = random.choice([(4, 8), (16, 8), (32, 1), (64, 1), (128, 1)])
    side, channels = random.choice([(2, 256), (4, 128), (4, 256), (8, 64), (8, 128), (16, 32)])
    kernel = random.choice([1, 3])
    x = torch.randn(streams, batch, channels, side, side, requires_grad=True)
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
    rows = batch * side * side
    return LinearShape(streams, rows, channels * kernel**2, channels, True, patches=True), layer, x


def main(device: str = "cpu", cases: int = 60) -> None:
    torch.set_default_device(device)
    factor = 8 if device == "cuda" else 1  # how much larger a use may be
    random.seed(0)
    torch.manual_seed(0)
    for name, draw in (("linear", linear_case), ("convolution", conv_case)):
        measured = []
        for _ in range(cases):
            shape, layer, x = draw()
            if shape.streams * shape.rows * max(shape.inputs, shape.outputs) > factor * 3e7:
                continue
            if shape.streams * shape.inputs * shape.outputs > factor * 8e7 or shape.rows > 512:
                continue
            measured.append((shape, [timed(layer, x, shape.streams, w) for w in WAYS]))
        chosen = []
        for way in (0, 1):
            rows = np.array([features(shape)[way] for shape, _ in measured], dtype=float)
            seconds = np.array([times[way] for _, times in measured])
            constants, _ = nnls(rows / seconds[:, None], np.ones(len(seconds)))
            print(
                name,
                WAYS[way],
                "ns:",
                [f"{c * 1e9:.3g}" for c in constants],
            )
            chosen.append(rows @ constants)
        best = sum(min(times) for _, times in measured)
        took = sum(
            times[0 if a < b else 1] for (_, times), a, b in zip(measured, *chosen, strict=True)
        )
        print(
            f"{name}: the choice takes {took / best:.3f} of the best ones, {len(measured)} shapes"
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
