import torch
from torch import nn

from pprs.pipeline.snapshot import untouched


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(3))
        self.register_buffer("fixed", torch.ones(3))
        self.register_buffer("replaced", torch.ones(3))
        self.register_buffer("resized", torch.ones(3))
        self.register_buffer("repeated", torch.ones(3).expand(2, 3))
        self.weight = nn.Parameter(torch.ones(3))
        self.calls, self.seen, self.cache = 0, [], {"last": torch.zeros(3)}

    def forward(self, x):
        self.calls += 1
        self.seen.append(len(x))
        self.cache["last"].add_(x[0])
        self.mean = 0.5 * self.mean + x.mean(0)
        self.replaced.data = torch.zeros(2)
        self.resized.resize_(5).zero_()
        self.weight = nn.Parameter(torch.zeros(3))
        self.new = x
        return x


def test_a_module_that_was_tried_is_as_it_was():
    module = nn.Sequential(Counting(), Counting())
    kept, weight = module[0].mean, module[0].weight
    with untouched(module) as changed:
        module(torch.full((2, 3), 7.0))
        assert module[0].calls == 1
    names = ("mean", "replaced", "resized")
    assert changed == [f"{number}.{name}" for number in range(2) for name in names]
    assert module[0].mean is kept
    assert module[0].weight is weight
    for part in module:
        assert (part.calls, part.seen, hasattr(part, "new")) == (0, [], False)
        assert all(getattr(part, name).tolist() == [1.0, 1.0, 1.0] for name in names)
        assert part.cache["last"].tolist() == [0.0, 0.0, 0.0]
