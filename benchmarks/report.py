"""What the reports of all benchmarks say alike."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """The name of this machine's processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def against(value: float, bar: float | None, *, above: bool) -> str:
    """A value beside its bar, if it has one; green where it is met: not below it, or not above."""
    if bar is None:
        return f"{value:.2f}"
    met = value >= bar if above else value <= bar
    sign = "≥" if above else "≤"
    return f"[{'green' if met else 'red'}]{value:.2f}[/] {sign}{bar:g}"
