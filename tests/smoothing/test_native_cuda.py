"""CUDA's kernel draws the stream that the CPU draws; Triton's interpreter runs it anywhere."""

import os

import pytest
import torch

from pprs.smoothing import Noise, Role, _philox, has_native_kernels
from pprs.smoothing._philox import Segments
from pprs.smoothing.native import cuda, cuda_rows, kernels
from pprs.smoothing.native.kernels import Bias, Drawing, Perturbed
from pprs.smoothing.native.recording import Keys

CUDA = torch.cuda.is_available()
pytest.importorskip("triton")
if not CUDA and os.environ.get("TRITON_INTERPRET") != "1":  # Triton reads it when imported
    pytest.skip("without a GPU it takes TRITON_INTERPRET=1", allow_module_level=True)
DEVICE = torch.device("cuda" if CUDA else "cpu")
TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-13}
KEYS = (5, 0x7EADBEEFCAFEBABE)  # Triton takes them for integers of 32 and 64 bits


def drawn(key, segments, dtype, *options):
    return cuda.launch(cuda._kernel(), key, 3, segments, dtype, *options)


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
    scale = torch.rand(21, dtype=dtype, device=DEVICE)
    tolerance = TOLERANCE[dtype]
    for scales, factor in ((None, 1), (scale, scale.repeat_interleave(11))):
        found = drawn(7, segments, dtype, Perturbed(base, 1 / 3, scales))
        expected = base + signs * normals * factor / 3
        torch.testing.assert_close(found[:, 0], expected, rtol=tolerance, atol=tolerance)


def test_what_is_drawn_may_be_rounded_to_another_type():
    segments = Segments(torch.zeros((1, 1), dtype=torch.int64, device=DEVICE), 100, 2)
    expected = drawn(7, segments, torch.float32)
    found = drawn(7, segments, torch.float32, None, torch.bfloat16)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=2.0**-7, atol=0)


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device")
def test_the_noise_on_a_gpu_is_that_on_the_cpu():
    for role in Role:
        cpu, gpu = (
            Noise(1, 2).normals("w", role, (3, 40, 50), torch.float64, torch.device(device))
            for device in ("cpu", "cuda")
        )
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=0, atol=1e-13)


SIZES = [(1, 1, 200, 30), (3, 3, 130, 40), (4, 6, 40, 140)]  # n, q, in, out
SIZES += [(16, 16, 300, 200), (32, 20, 64, 64)] if CUDA else []  # would take the interpreter long


@pytest.mark.skipif(not has_native_kernels(), reason="there is no C compiler here")
@pytest.mark.parametrize(("n", "q", "width", "outputs"), SIZES)
@pytest.mark.parametrize("pairs", [False, True])
def test_few_rows_have_the_noise_that_the_cpu_gives_them(n, q, width, outputs, pairs):
    if pairs and (n % 2 or q % 2):
        pytest.skip("pairs have even numbers of rows")
    generator, jitter = torch.Generator().manual_seed(0), 1e-10 if n > 1 else 0.0

    def normal(*shape):
        return torch.randn(shape, generator=generator, device="cpu")

    rows, left = normal(2, n, width), normal(2, q, outputs)
    rows[:, -1] = rows[:, 0] if n > 1 else 0  # duplicates; a row of zeros
    left[:, q // 2] = 0
    signs, left_signs = (alternating(k) if pairs else None for k in (n, q))
    scale, of_bias = torch.rand(outputs, generator=generator, device="cpu"), normal(1)
    bias = Bias(normal(outputs), KEYS[1] >> 1, 0.3, of_bias, 0, 2 if pairs else 1)

    def both_ways(library, device):
        def there(tensor):
            return None if tensor is None else tensor.to(device)

        own = Bias(there(bias.value), bias.key, bias.sigma, there(of_bias), 0, bias.share)
        drawing = Drawing(KEYS[1], (Role.FORWARD,), jitter, 0.1)
        forward = library.forward(there(rows), there(signs), own, there(scale), outputs, drawing, 2)
        noisy, normals, (lower, inverse, lengths) = forward
        same, _, _ = library.forward(there(rows[:1]), None, None, None, outputs, drawing, 2)
        known = there(rows), there(signs), inverse, lengths, normals
        drawing = Drawing(KEYS[1], (Role.BACKWARD, Role.RESIDUAL), 1e-10 if q > 1 else 0.0)
        back = library.backward(there(left), there(left_signs), known, jitter**0.5, drawing)
        return [noisy, normals, lower * lengths, lengths, same, back]

    expected = both_ways(kernels, torch.device("cpu"))
    for found, right in zip(both_ways(cuda_rows, DEVICE), expected, strict=True):
        torch.testing.assert_close(found.cpu().to(right.dtype), right, rtol=1e-4, atol=1e-4)


def alternating(n):
    signs = torch.ones(n, 1, dtype=torch.float64, device="cpu")
    signs[n // 2 :] = -1
    return signs


def test_few_rows_in_half_precision_have_the_noise_of_rounded_ones():
    rows = torch.randn((2, 3, 70), device=DEVICE).bfloat16()
    drawing = Drawing(KEYS[0], (Role.FORWARD,), 1e-10, 0.1)
    half, wide = (
        cuda_rows.forward(a, None, None, None, 40, drawing, 2) for a in (rows, rows.float())
    )
    torch.testing.assert_close(half[1].float(), wide[1], rtol=2.0**-7, atol=0)
    torch.testing.assert_close(half[0].float(), wide[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("scaled", [False, True])
def test_several_parameters_drawn_at_once_are_those_drawn_one_by_one(scaled):
    counts, keys, sigmas = (1, 70, 300), (*KEYS, 9), (0.1, 0.2, 0.3)
    bases = [torch.rand(count, device=DEVICE) for count in counts]
    scales = [torch.tensor([0.5 + i], device=DEVICE) if scaled else None for i in range(3)]
    found = cuda.launch_several(keys, 3, bases, sigmas, scales, 4, 2)
    origin = torch.zeros((1, 1), dtype=torch.int64, device=DEVICE)
    for key, base, sigma, scale, values in zip(keys, bases, sigmas, scales, found, strict=True):
        segments = Segments(origin, base.numel(), 4, share=2)
        one = Perturbed(base, sigma, scale)
        alone = cuda.launch(cuda._kernel(), key, 3, segments, torch.float32, one)
        torch.testing.assert_close(values, alone[:, 0], rtol=0, atol=1e-6)


def test_a_recorded_pass_draws_by_the_keys_that_its_table_has_then():
    keys = Keys(["a", "b"], torch.device(DEVICE))
    a, b = keys.key("a"), keys.key("b")
    base, rows = torch.rand(70, device=DEVICE), torch.randn((2, 3, 70), device=DEVICE)
    segments = Segments(torch.zeros((1, 1), dtype=torch.int64, device=DEVICE), 70, 2)

    def drawn(a, b):
        bias = Bias(base[:40], b, 0.1, None, 0, 1)
        drawing = Drawing(a, (Role.FORWARD,), 1e-10, 0.1)
        noisy, normals, known = cuda_rows.forward(rows, None, bias, None, 40, drawing, 2)
        drawing = Drawing(b, (Role.BACKWARD, Role.RESIDUAL), 1e-10)
        back = cuda_rows.backward(noisy, None, (rows, None, *known[1:], normals), 1e-5, drawing)
        alone = cuda.launch(cuda._kernel(), b, 3, segments, torch.float32)
        return [noisy, back, alone, *cuda.launch_several([a, b], 3, [base] * 2, [1, 1], [], 2, 1)]

    for numbers in (KEYS[1] >> 1, 9), (5, KEYS[1] >> 1):
        keys.fill(numbers)
        for recorded, given in zip(drawn(a, b), drawn(*numbers), strict=True):
            torch.testing.assert_close(recorded, given, rtol=0, atol=0)
