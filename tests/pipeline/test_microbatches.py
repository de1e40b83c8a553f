import pytest
import torch

from pprs.pipeline import Mesh, Microbatches
from pprs.smoothing import Perturbation
from pprs.theory import Graph, makespan


def divided(split="examples", samples=4, schedule="gpipe", replicas=1, ranks=2, each=1, **options):
    law = Perturbation(0.1, samples, antithetic=options.pop("antithetic", False))
    return Microbatches(law, split, schedule, Mesh(replicas, ranks), each, **options)


@pytest.mark.parametrize(
    ("options", "batch", "chosen"),
    [
        (dict(number=4), 8, 4),
        (dict(number=4), 6, 3),  # a smaller last batch
        (dict(number=4), 5, 1),
        (dict(number=4, replicas=2), 6, 2),
        (dict(), 12, 2),
        (dict(ranks=4), 6, 6),
        (dict(ranks=4, replicas=2), 24, 8),
        (dict(number=4, schedule="1f1b"), 6, 3),
        (dict(number=1, schedule="1f1b"), 7, 1),  # one microbatch needs no order
        (dict(split="perturbations", number=4), 5, 4),
        (dict(split="perturbations"), 5, 2),
        (dict(split="perturbations", samples=4, antithetic=True), 5, 2),
    ],
)
def test_the_number_fits_the_batch_and_the_schedule(options, batch, chosen):
    plan = divided(**options)
    assert plan.chosen(batch) == chosen
    assert chosen in plan.possible(batch)


def test_a_batch_that_cannot_be_divided_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match="batch must be a multiple of 2: got batch=5"):
        divided(replicas=2).chosen(5)
    with pytest.raises(ValueError, match="divisors of batch=3, none fits: change batch"):
        divided(schedule="dualpipe-v", each=2).chosen(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(split="rows"), "split must be one of .*'rows'"),
        (dict(number=0), "microbatches must be at least 1, got 0"),
        (dict(number=2.0), "microbatches must be at least 1, got 2.0"),
        (
            dict(schedule="1f1b", ranks=4, number=2),
            "1f1b needs .* as many.*take 4 or another",
        ),
        (dict(replicas=2, number=3), "must be a multiple of 2: got 3"),
        (dict(split="perturbations", number=3), "divide samples=4: got 3"),
        (dict(split="perturbations", number=4, antithetic=True), "would carry 1"),
    ],
)
def test_wrong_settings_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        divided(**options)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("split", ["examples", "perturbations"])
def test_all_copies_together_run_every_perturbation_of_every_example_once(split, replicas):
    plan = divided(split, replicas=replicas, number=4)
    batch = torch.arange(24.0).reshape(8, 3)
    parts = [plan.laid_out(batch, 4, replica) for replica in range(replicas)]
    assert all(part.shape[0] == 4 // replicas for part in parts)
    rows = torch.cat(parts).flatten(0, 2)
    expected = batch.repeat(4, 1)
    assert torch.equal(rows[rows[:, 0].argsort()], expected[expected[:, 0].argsort()])
    assert all(part.untyped_storage().data_ptr() == batch.data_ptr() for part in parts)
    assert parts[0].shape[1:3] == ((4, 2) if split == "examples" else (1, 8))


@pytest.mark.parametrize("ranks", [1, 3, 4])
@pytest.mark.parametrize("number", [1, 3, 4, 12])
def test_the_slots_are_the_makespan_of_equal_stages(ranks, number):
    plain = divided(samples=12, ranks=ranks).slots(number)
    assert 2 * plain == makespan(Graph.chain(ranks), number)
    if number % ranks == 0:
        looped = divided(samples=12, schedule="interleaved-1f1b", ranks=ranks, each=2)
        graph = Graph.chain(2 * ranks)
        assert 2 * looped.slots(number) == makespan(graph, number, "interleaved", devices=ranks)
    looped = divided(samples=12, schedule="looped-bfs", ranks=ranks, each=2)
    assert looped.slots(1) == 2 * ranks  # alone, it goes through all stages
