"""`pprs report`: runs as one HTML file, with Markdown beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pprs.cli.run_command import configured
from pprs.report import write_all


@dataclass(frozen=True)
class ReportConfig:
    """What runs of `pprs train` and `pprs compare` have found, on one page.

    The page opens from disk and asks for nothing; Markdown is written beside it. Runs that differ
    by their seed only are drawn as one line with a band.
    """

    runs: Positional[tuple[Path, ...]]
    """Folders of runs, such as runs/train."""
    out: Path | None = None
    """HTML file to write; by default report.html in the folder of the run, and of several runs in
    the current folder."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return configured("pprs report", ReportConfig, report, arguments)


def report(config: ReportConfig) -> Path:
    """Write the report, and say where.

    Raises:
        ValueError: for a folder that is not that of a run, or a file that cannot be written.
    """
    folder = config.runs[0] if len(config.runs) == 1 else Path()
    written = write_all(config.runs, config.out or folder / "report.html")
    print(f"{written} and {written.with_suffix('.md').name} are written")
    return written
