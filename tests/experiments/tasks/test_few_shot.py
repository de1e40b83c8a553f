import pytest
import torch

from pprs.compare.examples import Examples
from pprs_experiments.tasks.few_shot import few_shot
from pprs_experiments.tasks.images.images import Images
from pprs_experiments.tasks.images.source import read_images


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def part(seed, each=20, classes=3):
    """Random images, which are all different."""
    x = torch.randint(256, (each * classes, 2, 4, 5), generator=generator(seed))
    y = torch.arange(classes).repeat(each)
    return Examples(x.to(torch.uint8), y, classes)


def source():
    return Images(part(seed=1), part(seed=2), brightest=255)


def as_bytes(task, examples):
    """The images as they were before they were standardised."""
    pixels = examples.x * task.scale.deviation + task.scale.mean
    rows = (pixels * 255).round().to(torch.uint8).flatten(1).tolist()
    return {(*row, int(y)) for row, y in zip(rows, examples.y, strict=True)}


def rows(examples):
    pairs = zip(examples.x.flatten(1).tolist(), examples.y, strict=True)
    return {(*row, int(y)) for row, y in pairs}


def test_no_image_is_in_two_parts_and_the_test_part_is_for_testing():
    task = few_shot(source(), 5, 4, generator())
    assert task.train.y.bincount().tolist() == [5] * 3
    assert task.validation.y.bincount().tolist() == [4] * 3
    train, validation = as_bytes(task, task.train), as_bytes(task, task.validation)
    assert len(train | validation) == 3 * 9
    assert train | validation < rows(source().train)
    assert as_bytes(task, task.test) == rows(source().test)
    assert task.train.x.shape[1:] == (2, 4, 5)


def test_without_a_test_part_all_that_is_left_is_for_testing():
    task = few_shot(Images(part(1), None, 255), 5, 4, generator())
    parts = [as_bytes(task, examples) for examples in (task.train, task.validation, task.test)]
    assert [len(examples) for examples in parts] == [15, 12, 33]
    assert set.union(*parts) == rows(part(1))


def test_every_channel_is_standardised_by_the_training_images():
    bright = part(1)
    bright.x[:, 1] //= 8  # another mean and deviation
    task = few_shot(Images(bright, part(2), 255), 5, 4, generator(), torch.float64)
    channels = task.train.x.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(channels.std(1), torch.ones(2, dtype=torch.float64))
    assert (task.test.x.transpose(0, 1).flatten(1).mean(1)[1]) > 3  # not by its own images


def test_a_cap_on_testing_changes_neither_training_nor_validation():
    whole, capped = (few_shot(source(), 5, 4, generator(), test=test) for test in (None, 7))
    assert torch.equal(whole.train.x, capped.train.x)
    assert torch.equal(whole.validation.x, capped.validation.x)
    assert len(as_bytes(capped, capped.test)) == 7
    again = few_shot(source(), 5, 4, generator(), test=7)
    assert torch.equal(capped.test.x, again.test.x)


def test_another_number_for_validation_leaves_the_training_images():
    few, many = (few_shot(source(), 5, number, generator()) for number in (1, 9))
    assert torch.equal(few.train.x, many.train.x)


def test_images_draw_on_the_generator_alone():
    before = torch.get_rng_state()
    one, other = (few_shot(source(), 5, 4, generator(seed)) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one.train.x, other.train.x)


def test_the_type_of_the_images_is_chosen():
    assert few_shot(source(), 5, 4, generator(), torch.float64).test.x.dtype == torch.float64


def test_too_many_images_are_refused():
    with pytest.raises(ValueError, match="cannot take 16 images.*smallest class has 15"):
        few_shot(source(), 5, 16, generator())


def test_half_of_the_classes_are_a_task_of_their_own():
    task = few_shot(source().only([2, 1]), 5, 4, generator())
    assert task.train.classes == task.test.classes == 2
    assert {x[:-1] for x in as_bytes(task, task.test)} == {
        x[:-1] for x in rows(source().test) if x[-1] != 0
    }


def test_digits_are_a_task_too():
    task = few_shot(read_images("digits"), 5, 10, generator(), test=200)
    assert task.train.x.shape == (50, 1, 8, 8)
    assert len(task.validation) == 100
    assert len(task.test) == 200
