import torch
from torch import nn

from pprs.pipeline.untouched import untouched


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(3))
        self.register_buffer("fixed", torch.ones(3))
        self.calls, self.seen, self.cache = 0, [], {"last": torch.zeros(3)}

    def forward(self, x):
        self.calls += 1
        self.seen.append(len(x))
        self.cache["last"].add_(x[0])
        self.mean = 0.5 * self.mean + x.mean(0)
        self.new = x
        return x


def test_a_module_that_was_tried_is_as_it_was():
    module = nn.Sequential(Counting(), Counting())
    kept = module[0].mean
    with untouched(module) as changed:
        module(torch.full((2, 3), 7.0))
        assert module[0].calls == 1
    assert changed == ["0.mean", "1.mean"]
    assert module[0].mean is kept
    for part in module:
        assert (part.calls, part.seen, hasattr(part, "new")) == (0, [], False)
        assert part.mean.tolist() == [1.0, 1.0, 1.0]
        assert part.cache["last"].tolist() == [0.0, 0.0, 0.0]
