"""Steps of a pipeline of real processes, one after the other, are those of one process."""

import re

import pytest
from pipeline.ranks import on_ranks
from pipeline.step_cases import worker

pytestmark = [pytest.mark.dist, pytest.mark.slow]


@pytest.fixture(scope="module")
def results():
    """What the cases found, on each of two ranks."""
    return on_ranks(2, worker)


def of(results, *beginnings):
    return [v for part in results for k, v in part.items() if k.startswith(beginnings)]


@pytest.mark.parametrize(
    "what",
    [
        "towers",
        "buffers",
        "attributes",
        "an earlier shape",
        "autocast",
        "autocast, moved",
        "0 needs",
        "2 needs",
        "in place",
        "the batch",
        "generators",
        "masks",
        "other masks",
        "after all that",
        "labels, function",
        "labels, weighted",
        "labels, a sum",
        "gradients after it",
        "step after it",
        "unused in a copy",
    ],
)
def test_it_is_as_in_one_process(results, what):
    assert (checks := of(results, what))
    assert all(value is True for value in checks)


def test_few_shapes_are_kept_and_one_holds_memory(results):
    assert of(results, "shapes kept") == [8, 8]
    assert max(of(results, "shapes in memory")) <= 1  # torch 2.15 keeps none itself


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("other order", "step 0: x on rank 1 is not that on rank 0.*generator of its own"),
        ("other targets", "step 0: y on rank 1 is not that on rank 0"),
        ("other test inputs", "the pipeline: x on rank 1 is not that on rank 0"),
        ("other shape", r"rank 1 has the shapes of x=\[\(4, 4\)\], but rank 0 has .*\(8, 4\)"),
        ("other precision", "rank 1 has autocast=torch.bfloat16, but rank 0 has autocast=None"),
        ("no gradients", "a step needs gradients.*no_grad"),
        ("recomputed", "1.mean is a buffer that changes.*recompute=True"),
        (
            "a buffer of two stages",
            "1.mean is a buffer that changes.*runs in stage 0 and in another",
        ),
        ("labels, unknown", "other numbers of labels that are not -100.*cross_entropy"),
        ("no label", "the loss of microbatch 0 is nan.*none of its labels counts.*-100"),
        ("failure", "of the user"),
        ("a layer's words", "^stage 0 failed .* layer '1': my layer broke$"),
        ("a backward's words", "^a layer runs torch.utils.checkpoint .* leave recompute=True out$"),
        ("examples that depend on others", "the loss differs.*depends on the others of its batch"),
        ("the step after a failed one", "a step has failed on this rank.*start all ranks again"),
    ],
)
def test_what_cannot_be_right_is_refused_on_all_ranks_alike(results, what, said):
    errors = of(results, what)
    assert len(errors) == 2
    for error in errors:
        assert re.search(said, error), error
