"""Runs the compiled kernels, built with gcc's sanitizers, over many shapes, types and layouts.

`python tests/smoothing/sanitized.py` fails if a kernel reads or writes a byte that is not its own
or does what C leaves undefined, or if the sanitizers overlook a read past the end that is planted.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
SIZES = (0, 1, 2, 3, 4, 5, 17, 63, 64, 65, 130)
ROUNDS = 150


def main():
    libraries = [_runtime(name) for name in ("libasan.so", "libubsan.so")]
    if None in libraries:
        print("the sanitized kernels are not run: there is no gcc with libasan and libubsan here")
        return
    with tempfile.TemporaryDirectory() as cache:
        settings = {
            "CC": f"gcc {SANITIZERS}",
            "XDG_CACHE_HOME": cache,
            "LD_PRELOAD": " ".join(map(str, libraries)),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it needs to the end
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "OMP_NUM_THREADS": "2",
        }
        fuzzed, planted = (_run(work, settings) for work in ("fuzz", "planted"))
    if fuzzed.returncode:
        sys.exit(f"the sanitized kernels failed:\n{fuzzed.stdout}{fuzzed.stderr}")
    if planted.returncode == 0 or "heap-buffer-overflow" not in planted.stderr:
        sys.exit(f"a planted read past the end was not seen:\n{planted.stdout}{planted.stderr}")
    print(fuzzed.stdout.strip())


def _runtime(name):
    if not shutil.which("gcc"):
        return None
    command = ["gcc", f"-print-file-name={name}"]
    path = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    return path.resolve() if path.is_absolute() and path.exists() else None


def _run(work, settings):
    command = [sys.executable, __file__, work]
    settings = os.environ | settings
    return subprocess.run(command, check=False, env=settings, capture_output=True, text=True)


def fuzz():
    import torch

    from pprs.smoothing.native import kernels

    assert kernels.has_native_kernels(), "the sanitized kernels were not built"
    drawn = random.Random(0)
    torch.manual_seed(0)
    for round_, dtype in product(range(ROUNDS), (torch.float32, torch.float64)):
        size = lambda most=130: drawn.choice([s for s in SIZES if s <= most])  # noqa: E731
        _normals(torch, kernels, drawn, dtype, size)
        _algebra(torch, kernels, drawn, dtype, size, singular=round_ % 3 == 0)
    print(f"the sanitized kernels ran {2 * ROUNDS} times over shapes up to {SIZES[-1]}, clean")


def _normals(torch, kernels, drawn, dtype, size):
    from pprs.smoothing._philox import Segments

    share, samples, pieces, count = drawn.choice((1, 2)), drawn.randint(1, 4), size(17), size()
    if drawn.random() < 0.3:
        pieces, starts, base = 1, torch.zeros(1, 1, dtype=torch.int64), torch.randn(count)
    else:
        starts, base = torch.randint(0, 2**40, (drawn.choice((1, samples)), pieces)), None
    perturbed = None
    if base is not None:
        scale = torch.rand(drawn.choice([1, count])) if drawn.random() < 0.5 else None
        base, scale = (
            None if tensor is None else _laid_out(torch, drawn, tensor.to(dtype))
            for tensor in (base, scale)
        )
        perturbed = kernels.Perturbed(base, 0.1, scale)
    segments = Segments(starts, count, samples, drawn.randint(0, 9), share)
    kernels.normals(drawn.getrandbits(64), 3, segments, dtype, perturbed)
    matrices = [_laid_out(torch, drawn, torch.rand(size(17), size(17))) for _ in range(3)]
    kernels.norms(matrices)
    kernels.several(
        [drawn.getrandbits(64) for _ in matrices],
        0,
        [matrix.to(dtype) for matrix in matrices],
        [0.1] * len(matrices),
        [torch.rand(len(m), dtype=dtype) if len(m) else None for m in matrices],
        samples,
        share,
    )


def _algebra(torch, kernels, drawn, dtype, size, singular):
    pairs = drawn.choice((1, 2))
    n, q = (pairs * drawn.randint(1, 32 // pairs) for _ in range(2))
    samples, width, outputs = pairs * drawn.randint(1, 3), size(), size()
    streams = samples // pairs

    def random_(*shape):
        return _laid_out(torch, drawn, torch.randn(shape, dtype=dtype))

    rows, left = random_(streams, n, width), random_(streams, q, outputs)
    if singular:
        rows, left = rows.clone(), left.clone()
        rows[:, n // 2 :], left[:, q // 2 :] = rows[:, :1].clone(), 0
    signs = [None, None]
    if pairs == 2:
        signs = [
            torch.tensor([1.0, -1.0]).double().repeat_interleave(k // 2)[:, None] for k in (n, q)
        ]
    bias = None
    if drawn.random() < 0.7:
        of_bias = random_(1) if drawn.random() < 0.5 else None
        bias = kernels.Bias(random_(outputs), drawn.getrandbits(64), 0.1, of_bias, 0, pairs)
    scale = random_(outputs) if drawn.random() < 0.5 else None
    drawing = kernels.Drawing(drawn.getrandbits(64), (1,), 1e-10, 0.1)
    kernels.factor(rows, signs[0], 1e-10)
    kernels.forward(rows[:1], signs[0], bias, scale, outputs, drawing, streams)
    _, normals, known = kernels.forward(rows, signs[0], bias, scale, outputs, drawing, streams)
    drawing = kernels.Drawing(drawn.getrandbits(64), (2, 3), 1e-10)
    known = (rows, signs[0], known[1], known[2], normals)
    kernels.backward(left, signs[1], known, 1e-5, drawing)


def _laid_out(torch, drawn, tensor):
    """The same values, or some of them, in one of the ways in which tensors lie in memory."""
    way = drawn.randrange(5)
    if way == 0 and tensor.dim() > 1:
        return tensor.mT.contiguous().mT
    if way == 1:
        return torch.stack([tensor, tensor], -1)[..., 1]
    if way == 2:
        return tensor[..., :1].expand(tensor.shape) if tensor.numel() else tensor
    if way == 3:
        return torch.complex(tensor, -tensor).conj().imag
    return tensor


def planted():
    """A bias of one element for many outputs, past the check of what kernels are handed."""
    import torch

    from pprs.smoothing.native import kernels

    rows, bias = torch.ones(1, 1, 64), torch.ones(1)
    place = kernels._at
    kernels._at = lambda tensor, *expected: (
        tensor.data_ptr() if tensor is bias else place(tensor, *expected)
    )
    short = kernels.Bias(bias, 1, 0.1, None, 0, 1)
    kernels.forward(rows, None, short, None, 256, kernels.Drawing(1, (1,), 0.0), 1)


if __name__ == "__main__":
    {"fuzz": fuzz, "planted": planted}[sys.argv[1]]() if sys.argv[1:] else main()
