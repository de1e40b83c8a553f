"""Builds `kernels.c` with the machine's C compiler, keeps the library, and loads it.

Loading a library runs its code, so one is loaded only from a folder that nobody else can write to.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_SOURCE = Path(__file__).with_name("kernels.c")
_PORTABLE = ["-O2", "-ftree-vectorize", "-fno-trapping-math", "-fno-math-errno", "-fPIC"]
_ROOM = 1 << 20  # bytes that a build needs
# Tried in this order. OpenMP's symbols stay undefined in the library: torch's own runtime, already
# loaded, gives them, so both share one pool of threads and torch.set_num_threads holds.
_FLAGS = [
    [*_PORTABLE, "-fopenmp", "-march=native", "-mprefer-vector-width=512"],
    [*_PORTABLE, "-fopenmp", "-mcpu=native"],
    [*_PORTABLE, "-fopenmp"],
    _PORTABLE,
]


def load() -> ctypes.CDLL | None:
    """The kernels, kept from before or built now; `None` where they cannot be had."""
    compiler = _compiler()
    if compiler is None:
        return None
    try:
        for folder in _folders():
            for flags in _FLAGS:
                try:
                    return ctypes.CDLL(str(_kept(folder, compiler, flags)))
                except subprocess.TimeoutExpired:
                    return None
                except (OSError, subprocess.SubprocessError):
                    continue
    except OSError:  # not even a temporary folder
        pass
    return None


def _compiler() -> list[str] | None:
    """The words of `CC` where that names a program, or the machine's compiler."""
    if os.name != "posix":
        return None
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quote that is not closed
        named = []
    for words in (named, ["cc"], ["gcc"], ["clang"]):
        if words and shutil.which(words[0]):
            return words
    return None


def _kept(folder: Path, compiler: list[str], flags: list[str]) -> Path:
    """The library in a folder, built now if it is not there; raises if the compiler refuses."""
    sources = [path.read_text() for path in sorted(_SOURCE.parent.glob("*.[ch]"))]
    words = [*sources, *compiler, *flags, platform.machine(), _processor()]
    stem = f"kernels-{_digest('/'.join(words).encode())}"
    for path in folder.glob(f"{stem}-*.so"):
        if _sound(path, stem):
            return path
        path.unlink(missing_ok=True)
    if shutil.disk_usage(folder).free < _ROOM:
        raise OSError(f"{folder} is full")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        compiled, linked = Path(scratch, "kernels.o"), Path(scratch, "kernels.so")
        _run([*compiler, *flags, "-c", str(_SOURCE), "-o", str(compiled)])
        _run([*compiler, "-shared", str(compiled), "-lm", "-o", str(linked)])
        linked.chmod(0o700)
        # Atomic: another process may be building the same.
        return linked.replace(folder / _name(stem, linked))


def _sound(library: Path, stem: str) -> bool:
    """Whether a library is what was built: not another's, not cut short, not a folder."""
    try:
        return _ours(library, stat.S_ISREG) and library.name == _name(stem, library)
    except OSError:
        return False


def _name(stem: str, library: Path) -> str:
    """What a library is called: after what it was made from, and after what is in it."""
    return f"{stem}-{_digest(library.read_bytes())}.so"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _folders() -> Iterator[Path]:
    """Where the library may lie: this user's cache, a folder in the temporary one, a fresh one."""
    for place in (_cache, lambda: Path(tempfile.gettempdir(), f"pprs-{os.geteuid()}")):
        try:
            folder = _private(place())
        except (OSError, RuntimeError):  # no home, or it cannot be written to
            continue
        if folder is not None:
            yield folder
    with tempfile.TemporaryDirectory(prefix="pprs-") as scratch:
        yield Path(scratch)


def _cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not root.is_absolute():  # to be ignored, says the specification
        root = Path.home() / ".cache"
    if not root.is_absolute():
        raise OSError("no home")
    return root / "pprs"


def _private(folder: Path) -> Path | None:
    """The folder, made if need be, or `None` if others could put something in its place."""
    _make(folder.parent)
    folder = folder.parent.resolve() / folder.name  # what is checked has no links
    _make(folder)
    safe = _ours(folder, stat.S_ISDIR) and all(_guarded(above) for above in folder.parents)
    return folder if safe else None


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _ours(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether a folder or file, itself and no link, is this user's, who alone may write to it."""
    seen = path.lstat()
    return is_kind(seen.st_mode) and _trusted(seen.st_uid) and _closed(seen)


def _guarded(above: Path) -> bool:
    """Whether others cannot rename what a folder holds."""
    seen = above.lstat()
    return _trusted(seen.st_uid) and (_closed(seen) or bool(seen.st_mode & stat.S_ISVTX))


def _closed(seen: os.stat_result) -> bool:
    return not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _trusted(owner: int) -> bool:
    """This user, and who owns the whole machine: in some containers that is not number 0."""
    return owner in {os.geteuid(), Path("/").stat().st_uid}


def _processor() -> str:
    """What -march=native depends on: a home may be shared between unlike machines."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor()
    lines = information.read_text().splitlines()
    return "".join(line for line in lines if line.startswith(("model name", "flags")))[:4096]
