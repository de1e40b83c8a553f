"""Where samples of convolutions lie beside one another, a closure sees nothing of it."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from smoothing.test_shapes import as_without_noise, generated
from torch import nn
from torch.func import vmap

import pprs
from pprs.smoothing import _vmap

SAMPLES = 4


def resized(maps):
    return maps.view(6, 4, -1)


def permuted(maps):
    return maps.permute(2, 3, 0, 1).reshape(9, -1)


RESHAPED = {
    "view": resized,
    "view of a sum": lambda maps: resized(maps + 1),
    "view of a part": lambda maps: maps[1:].view(-1, 3),
    "view after contiguous": lambda maps: resized(maps.contiguous()),
    "view, if contiguous": lambda maps: resized(maps) if maps.is_contiguous() else maps.sin(),
    "view with an image more": lambda maps: maps.unsqueeze(0).view(6, -1),
    "view of each image, in place": lambda maps: (maps.view(3, -1).sin_(), maps)[1],
    "as another": lambda maps: maps.view_as(maps.new_empty(6, 4, 3, 3)),
    "reshape": lambda maps: maps.reshape(6, -1),
    "reshape_as": lambda maps: maps.reshape_as(maps.new_empty(6, 36)),
    "flatten": lambda maps: torch.flatten(maps).view(2, -1),
    "ravel": lambda maps: maps.ravel()[3:],
    "strided": lambda maps: maps.as_strided((3, 5), (72, 9), 2),
    "strided by its strides": lambda maps: maps.as_strided((3, 8, 3), maps.stride()[:3]),
    "strided by each of them": lambda maps: maps.as_strided((3, 8), (maps.stride(0), 9)),
    "a part, strided": lambda maps: maps[1:].as_strided((2, 3), (9, 1)),
    "a part, strided from a place": lambda maps: maps[1:].as_strided((2, 3), (9, 1), 75),
    "strided after permute": lambda maps: maps.permute(2, 3, 0, 1).as_strided((9, 3), (1, 72)),
    "strides of a view": lambda maps: maps * permuted(maps).stride(0),
    "view after permute": lambda maps: maps.permute(2, 3, 0, 1).view(3, 3, -1),
    "a copy, in place": lambda maps: maps.flatten().mul_(2),
    "the original, in place": lambda maps: (maps.flatten().sin(), maps.mul_(2))[1],
    "in place": lambda maps: F.relu(maps, inplace=True),
    "strides": lambda maps: maps.permute(2, 3, 0, 1).reshape(9, -1)[:, 1:],
    "in a vmap": vmap(lambda image: image.view(-1).sin()),
    "in a vmap of other dimensions": vmap(lambda maps: maps.contiguous().mul_(2).sin(), in_dims=1),
}


def convolution():
    torch.manual_seed(0)
    return nn.Conv2d(2, 8, 1).double()


def weighed(result):
    return (result * torch.arange(result.numel()).view(result.shape).cos()).sum()


@pytest.mark.parametrize("name", RESHAPED)
def test_it_may_have_any_shape(name):
    model, images = convolution(), generated(3, 2, 3, 3)
    as_without_noise(lambda: weighed(RESHAPED[name](model(images))), model)


def in_place_in_a_vmap(rows):
    shared = torch.arange(24.0).double().view(2, SAMPLES, 3)
    return (
        vmap(lambda part: part.contiguous().mul_(2), in_dims=1)(shared).sum() * shared * rows[0, 0]
    )


PARTS = {
    "of a vmap of the closure's own": in_place_in_a_vmap,
    "columns": lambda rows: rows[:, :SAMPLES].contiguous().mul_(3),
    "rows": lambda rows: rows[::SAMPLES].contiguous().mul_(3),
    "columns, reshaped": lambda rows: rows[:, :SAMPLES].reshape(-1).mul_(3),
    "columns, strided": lambda rows: rows[:, :SAMPLES].as_strided((2, 2), (16, 1)),
    "columns, if contiguous": lambda rows: rows.sin() if rows[:, :4].is_contiguous() else rows,
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_what_lies_otherwise_are_not_taken_for_it(part):
    """Some have the steps that the images of a convolution have."""
    torch.manual_seed(0)
    model, inputs = nn.Linear(3, 4 * SAMPLES).double(), generated(2 * SAMPLES, 3)

    def closure():
        rows = model(inputs)
        return weighed(PARTS[part](rows)) + (rows**2).sum()

    as_without_noise(closure, model)


def test_they_do_lie_so():
    seen, model, images = [], convolution(), generated(3, 2, 3, 3)

    def closure():
        maps = model(images)
        seen.append(_vmap.underlying(maps).stride())
        return maps.mean()

    pprs.smooth(closure, model, 0.1, SAMPLES, check=False)
    assert (72 * SAMPLES in seen[0]) is _vmap._direct


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shape", [torch.flatten, resized, permuted])
@pytest.mark.parametrize("mode", [contextlib.nullcontext, torch.inference_mode])
def test_a_copy_that_torch_would_not_make_is_not_changed_in_place(mode, shape, first):
    model, images = convolution(), generated(3, 2, 3, 3)

    def closure():
        with mode():
            maps = model(images)
            both = maps, shape(maps)
            both[first].add_(1)
            return model(images).sum() + (both[0] ** 2).sum() + both[1].sin().sum()

    with pytest.raises(RuntimeError, match="reshapes the result of a convolution"):
        pprs.smooth(closure, model, 0.1, SAMPLES, check=False)


def test_one_of_two_copies_is_not_changed_in_place():
    model, images = convolution(), generated(3, 2, 3, 3)

    def closure():
        maps = model(images)
        one, other = maps.flatten(), maps.flatten()
        one.mul_(2)
        return other.sum()

    with pytest.raises(RuntimeError, match="reshapes the result of a convolution"):
        pprs.smooth(closure, model, 0.1, SAMPLES, check=False)


def test_what_is_changed_between_two_copies_is_in_the_second():
    model, images = convolution(), generated(3, 2, 3, 3)

    def closure():
        maps = model(images)
        first = maps.flatten().sum()
        maps.mul_(2)
        return first + weighed(maps.flatten())

    as_without_noise(closure, model)


@pytest.mark.parametrize("size", [1, 2])
def test_maps_of_one_place_are_normalised(size):
    """Strides of their one place say nothing, and torch may take the channels to come last."""
    torch.manual_seed(0)
    norms = [nn.GroupNorm(2, 4), nn.ReLU(True), nn.Conv2d(4, 4, 1, 2), nn.GroupNorm(2, 4)]
    model = nn.Sequential(nn.Conv2d(2, 4, 2, 2), *norms).double()
    images = generated(3, 2, 2 * size, 2 * size)
    as_without_noise(lambda: weighed(model(images)), model)


@pytest.mark.parametrize("between", [nn.Identity(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 4)])
def test_groups_are_normalised_wherever_samples_lie(between):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), between, nn.GroupNorm(2, 4), nn.Flatten()).double()
    images = generated(3, 2, 5, 5)
    as_without_noise(lambda: weighed(model(images)), model)
