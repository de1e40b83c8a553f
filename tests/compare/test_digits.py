import pytest
import torch

from pprs.compare.digits import few_shot_digits


def draw(shots, seed=0):
    return few_shot_digits(shots, torch.Generator().manual_seed(seed))


def test_shots_per_class_for_training_and_all_others_for_testing():
    train, test = draw(5)
    assert train.y.bincount().tolist() == [5] * 10
    assert len(test) == 1797 - 50
    rows = torch.cat([train.x, test.x])
    assert len(rows.unique(dim=0)) == 1797  # the scans are all different: no image is in both


def test_pixels_are_standardised_by_the_training_images():
    train, _ = draw(5)
    torch.testing.assert_close(train.x.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.x.std(), torch.tensor(1.0))


def test_the_seed_draws_the_images():
    assert torch.equal(draw(2)[0].x, draw(2)[0].x)
    assert not torch.equal(draw(2)[0].x, draw(2, seed=1)[0].x)


@pytest.mark.parametrize("shots", [0, 174])
def test_impossible_shots_are_refused(shots):
    with pytest.raises(ValueError, match=f"cannot take {shots} images.*smallest class has 174"):
        draw(shots)
