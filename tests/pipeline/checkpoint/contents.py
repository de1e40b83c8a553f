"""Tensors of every type and shape, to be saved."""

import torch
from hypothesis import strategies as st


def tensors_of_all_types():
    dtypes = st.sampled_from(
        [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
    )
    shapes = st.lists(st.integers(0, 3), max_size=3)
    return st.builds(random_bits, dtypes, shapes, st.integers(0, 2**32))


def random_bits(dtype, shape, seed):
    """Any bits but for truth values: also NaN, infinite and subnormal numbers."""
    size = torch.empty(shape, dtype=dtype).nbytes
    bits = torch.randint(256, (size,), generator=torch.Generator().manual_seed(seed)).byte()
    return (bits % 2 if dtype == torch.bool else bits).view(dtype).reshape(shape)


def bits(tensor):
    return tensor.reshape(-1).view(torch.uint8).tolist()
