"""Models and examples that cannot be cut are refused, with a way out."""

import pytest
import torch
from pipeline.partitioner.models import ResidualMLP
from torch import nn

from pprs.pipeline.partitioner import lost_in_trace
from pprs.pipeline.partitioner.chain import chain


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class NoTensor(nn.Module):
    def forward(self, x):
        return {"result": "x"}


def test_models_that_cannot_be_traced_are_refused_with_what_torch_said_and_a_way_out(capfd):
    with pytest.raises(
        ValueError, match=r"cannot trace Branching: (.|\n)*data.dependent"
    ) as caught:
        chain(Branching(), torch.randn(3, 2))
    assert "pass an nn.Sequential of its layers" in str(caught.value)
    assert "(test_refused_models.py, line " in str(caught.value)
    assert capfd.readouterr().err == ""  # no graph before it
    with pytest.raises(ValueError, match="or .logits, but returned a dict with 'result'"):
        chain(NoTensor(), torch.randn(3, 2))


def test_a_mistake_of_ours_in_a_trace_is_not_said_to_be_the_model_s(monkeypatch):
    monkeypatch.setattr(lost_in_trace, "random", None)
    with pytest.raises(
        RuntimeError, match="failed in pprs itself .lost_in_trace.py, line"
    ) as caught:
        chain(ResidualMLP(), torch.randn(3, 4))
    assert "please report it" in str(caught.value)


def test_normalisation_over_the_batch_is_refused_in_training():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x):
            return self.norm(x)

    with pytest.raises(RuntimeError, match="BatchNorm1d 'norm' is in training mode"):
        chain(Normalised(), torch.randn(3, 2))
    model = Normalised().eval()
    assert torch.equal(chain(model, torch.ones(3, 2))(torch.ones(1, 2)), model(torch.ones(1, 2)))


@pytest.mark.parametrize("example", [(), ({},), (3,), (torch.ones(2), "x")])
def test_examples_that_are_no_tensors_are_refused(example):
    with pytest.raises(ValueError, match="example must be the tensors that the model takes"):
        chain(ResidualMLP(), *example)


def test_other_sizes_than_the_examples_are_refused():
    pieces = chain(ResidualMLP(), torch.randn(2, 6))
    with pytest.raises(ValueError, match=r"shape \(2, 5\), but .* traced for \(any, 6\)"):
        pieces(torch.randn(2, 5))
    with pytest.raises(ValueError, match="largest must be an integer of at least 1, got 0"):
        chain(ResidualMLP(), torch.randn(2, 6), largest=0)
