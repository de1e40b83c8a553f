"""CUDA's kernel draws the stream that the CPU draws; Triton's interpreter runs it anywhere."""

import os

import pytest
import torch

from pprs.smoothing import Noise, Role, _philox
from pprs.smoothing._philox import Segments
from pprs.smoothing.native import cuda

CUDA = torch.cuda.is_available()
pytest.importorskip("triton")
if not CUDA and os.environ.get("TRITON_INTERPRET") != "1":  # Triton reads it when imported
    pytest.skip("without a GPU it takes TRITON_INTERPRET=1", allow_module_level=True)
DEVICE = torch.device("cuda" if CUDA else "cpu")
TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-13}
KEYS = (5, 0x7EADBEEFCAFEBABE)  # Triton takes them for integers of 32 and 64 bits


def drawn(key, segments, dtype, base=None, sigma=1.0):
    return cuda.launch(cuda._kernel(), key, 3, segments, dtype, base, sigma)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [1, 64, 300])
@pytest.mark.parametrize("starts", [[[0]], [[5, 1000, 64]], [[2**36 + 7], [3], [5], [9]]], ids=str)
@pytest.mark.parametrize("share", [1, 2])
def test_the_stream_is_the_defined_one(dtype, count, starts, share):
    starts = torch.tensor(starts, device=DEVICE)
    segments = Segments(starts, count, samples=4, first=3, share=share)
    for key in KEYS:
        expected = _philox.normals(key, 3, segments, dtype)
        found = drawn(key, segments, dtype)
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_base_is_perturbed_in_pairs_of_opposite_sign(dtype):
    base = torch.randn(231, dtype=dtype, device=DEVICE)
    base = torch._neg_view(base)  # as the imaginary part of a conjugate is
    segments = Segments(torch.zeros((1, 1), dtype=torch.int64, device=DEVICE), 231, 4, share=2)
    normals = _philox.normals(7, 3, segments, dtype)[:, 0]
    signs = torch.tensor([1, -1, 1, -1], dtype=dtype, device=DEVICE)[:, None]
    found = drawn(7, segments, dtype, base, 1 / 3)
    tolerance = TOLERANCE[dtype]
    expected = base + signs * normals / 3
    torch.testing.assert_close(found[:, 0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device")
def test_the_noise_on_a_gpu_is_that_on_the_cpu():
    for role in Role:
        cpu, gpu = (
            Noise(1, 2).normals("w", role, (3, 40, 50), torch.float64, torch.device(device))
            for device in ("cpu", "cuda")
        )
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=0, atol=1e-13)
