"""Builds ``_kernels.c`` with the machine's C compiler, once, and calls it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pprs.smoothing._philox import Segments

_SOURCE = Path(__file__).with_name("_kernels.c")
_FEW = 32  # as in _kernels.c
_SUFFIX = {torch.float32: "_f32", torch.float64: "_f64"}
_PORTABLE = ["-O2", "-ftree-vectorize", "-fno-trapping-math", "-fno-math-errno", "-fPIC"]
# Tried in this order. OpenMP's symbols stay undefined in the library: torch's own runtime, already
# loaded, gives them, so both share one pool of threads and torch.set_num_threads holds.
_FLAGS = [
    [*_PORTABLE, "-fopenmp", "-march=native", "-mprefer-vector-width=512"],
    [*_PORTABLE, "-fopenmp", "-mcpu=native"],
    [*_PORTABLE, "-fopenmp"],
    _PORTABLE,
]


def normals(
    key: int,
    role: int,
    segments: Segments,
    dtype: torch.dtype,
    *,
    base: Tensor | None = None,
    sigma: float = 1.0,
) -> Tensor | None:
    """As :func:`pprs.smoothing._philox.normals`, or ``None`` where there is no compiled code.

    With a ``base``, whose elements are numbered as those of the streams, the result is that plus
    sigma times the normals, and minus for every second lane that shares a stream.
    """
    library = _library()
    starts = segments.starts
    if library is None or starts.device.type != "cpu":
        return None
    fill = library.normal_f32 if dtype == torch.float32 else library.normal_f64
    lanes, pieces, count = segments.lanes, starts.shape[1], segments.count
    out = torch.empty((lanes, pieces, count), dtype=dtype)
    starts = starts.contiguous()
    own = pieces if len(starts) > 1 else 0
    where = (starts.data_ptr(), own, segments.first, segments.share)
    start = None if base is None else base.data_ptr()
    fill(out.data_ptr(), lanes, pieces, count, *where, key, role, start, sigma)
    return out


def takes(rows: Tensor) -> bool:
    """Whether the kernels for few rows take rows ``(..., n, i)``: a few, on a CPU."""
    few = rows.shape[-2] <= _FEW  # beyond, products in float64 are faster
    return few and rows.device.type == "cpu" and rows.dtype in _SUFFIX and available()


def factor(rows: Tensor, signs: Tensor | None, jitter: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factors of Gram matrices of rows scaled to length 1, their inverses, the lengths.

    Args:
        rows: shape ``(streams, n, i)``.
        signs: of the rows, ``(n, 1)``, float64.
        jitter: as :func:`pprs.smoothing._gram.factor` adds it.

    Returns:
        Shapes ``(streams, n, n)`` twice and ``(streams, n, 1)``, float64.
    """
    rows = rows.contiguous()
    streams, n, width = rows.shape
    out = torch.empty((2, streams, n, n), dtype=torch.float64)
    lengths = torch.empty((streams, n, 1), dtype=torch.float64)
    _call("factor", rows, signs, streams, n, width, jitter, out[0], out[1], lengths)
    return out[0], out[1], lengths


def forward(
    rows: Tensor,
    signs: Tensor | None,
    offset: Tensor | None,
    scale: Tensor | None,
    outputs: int,
    drawing: Drawing,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Noise of a linear map on its way forward.

    Args:
        rows: A, shape ``(streams, n, i)``.
        signs: of the rows, ``(n, 1)``, float64.
        offset: added to the noise, ``(outputs,)`` or ``(lanes, outputs)``.
        scale: of the outputs' noise, ``(outputs,)``.
        outputs: the map's width.
        drawing: sigma, and where the normals come from.

    Returns:
        Offset plus noise and Z, shape ``(streams, n, outputs)``, and what :func:`factor` returns.
    """
    rows = rows.contiguous()
    streams, n, width = rows.shape
    sizes = (streams, n, width, outputs)
    factors = torch.empty((2, streams, n, n), dtype=torch.float64)
    lengths = torch.empty((streams, n, 1), dtype=torch.float64)
    normals, noisy = (torch.empty((streams, n, outputs), dtype=rows.dtype) for _ in range(2))
    lanes = 0 if offset is None or offset.dim() == 1 else len(offset)
    offset = None if offset is None else offset.contiguous()
    scale = None if scale is None else scale.contiguous()
    keys = (drawing.jitter, drawing.key, drawing.roles[0], drawing.sigma)
    to = (factors[0], factors[1], lengths, normals, noisy)
    given = (offset, streams * n // lanes if lanes else 0, scale)
    _call("forward", rows, signs, *sizes, *keys, *given, *to)
    return noisy, normals, (factors[0], factors[1], lengths)


def backward(
    left: Tensor,
    left_signs: Tensor | None,
    known: tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor],
    spread: float,
    drawing: Drawing,
) -> Tensor:
    """As :meth:`pprs.smoothing._gram.Known.product`.

    Args:
        left: D, shape ``(streams, q, o)``.
        left_signs: of its rows.
        known: A, its signs, the inverse of its unit root, the lengths of its rows, and Z.
        spread: standard deviation of what the jitter added to rows of length 1.
        drawing: where U and what goes with the jitter come from.
    """
    left = left.contiguous()
    held = [None if tensor is None else tensor.contiguous() for tensor in known]
    (streams, q, o), (n, width) = left.shape, known[0].shape[1:]
    out = torch.empty((streams, q, width), dtype=left.dtype)
    keys = (drawing.jitter, spread, drawing.key, *drawing.roles)
    _call("backward", left, left_signs, *held, streams, q, n, o, width, *keys, out)
    return out


@dataclass(frozen=True)
class Drawing:
    """What a kernel needs to draw.

    Args:
        key: of the parameter's streams.
        roles: of the draws.
        jitter: added to Gram matrices of rows of length 1.
        sigma: factor of the noise.
    """

    key: int
    roles: tuple[int, ...]
    jitter: float
    sigma: float = 1.0


def _call(name: str, first: Tensor, *rest: Any) -> None:
    """Call a kernel; it holds references to the tensors until it has returned."""
    arguments = [a.data_ptr() if isinstance(a, Tensor) else a for a in (first, *rest)]
    getattr(_library(), name + _SUFFIX[first.dtype])(*arguments)


def available() -> bool:
    """Whether this machine has a compiler, so that noise on the CPU is drawn by compiled code."""
    return _library() is not None


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    for flags in _FLAGS if compiler else []:
        try:
            return _declared(ctypes.CDLL(str(_built(compiler or "", flags))))
        except (OSError, subprocess.SubprocessError):
            continue
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    integer: Any = ctypes.c_int64
    pointer: Any = ctypes.c_void_p
    sizes, where = [pointer, integer, integer, integer], [pointer, integer, integer, integer]
    keys = [ctypes.c_uint64, ctypes.c_uint32]
    arguments = [*sizes, *where, *keys, pointer, ctypes.c_double]
    for function in (library.normal_f32, library.normal_f64):
        function.argtypes, function.restype = arguments, None
    real, key, role = ctypes.c_double, ctypes.c_uint64, ctypes.c_uint32
    kernels = {
        "factor": [pointer] * 2 + [integer] * 3 + [real] + [pointer] * 3,
        "forward": [pointer] * 2
        + [integer] * 4
        + [real, key, role, real, pointer, integer, pointer]
        + [pointer] * 5,
        "backward": [pointer] * 7 + [integer] * 5 + [real, real, key, role, role, pointer],
    }
    for name, kinds in kernels.items():
        for suffix in _SUFFIX.values():
            function = getattr(library, name + suffix)
            function.argtypes, function.restype = kinds, None
    return library


def _built(compiler: str, flags: list[str]) -> Path:
    """The shared library, from the cache or built now; raises if the compiler refuses."""
    sources = [path.read_text() for path in (_SOURCE, _SOURCE.with_name("_rows.h"))]
    words = [*sources, compiler, *flags, platform.machine(), _processor()]
    name = f"kernels-{hashlib.blake2b('/'.join(words).encode(), digest_size=12).hexdigest()}.so"
    folder = _cache()
    if (folder / name).exists():
        return folder / name
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        compiled, linked = Path(scratch, "kernels.o"), Path(scratch, name)
        _run([compiler, *flags, "-c", str(_SOURCE), "-o", str(compiled)])
        _run([compiler, "-shared", str(compiled), "-lm", "-o", str(linked)])
        linked.replace(folder / name)  # atomic: another process may be building the same
    return folder / name


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _cache() -> Path:
    """A folder of this user, to write to; a machine's own temporary one where there is no home."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "pprs"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    folder = Path(tempfile.gettempdir()) / f"pprs-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # what others may write is not loaded
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def _processor() -> str:
    """What -march=native depends on: a home may be shared between unlike machines."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor()
    lines = information.read_text().splitlines()
    return "".join(line for line in lines if line.startswith(("model name", "flags")))[:4096]
