import torch

from pprs.compare.memory import peak_memory

CPU = torch.device("cpu")
MIB = 2**20


def test_the_fullest_moment_counts():
    x = torch.ones(MIB // 4)

    def step():
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        c.mul_(2).view(2, -1)

    assert peak_memory(step, CPU) == 2 * MIB


def test_what_a_backward_needs_counts():
    weight = torch.ones(1024, 1024, requires_grad=True)
    for rows in (1, 64):
        x = torch.ones(rows, 1024)
        found = peak_memory(lambda x=x: (x @ weight).tanh().sum().backward(), CPU)
        assert 4 * MIB < found < (4.1 + rows * 4 / 256) * MIB  # the gradient, and some rows
        weight.grad = None
