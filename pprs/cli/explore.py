"""`pprs explore`: a page to try limits and schedules in."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pprs.cli.run_command import configured
from pprs.explore import explore_page
from pprs.io.files import check_file, writing


@dataclass(frozen=True)
class ExploreConfig:
    """Write a page to try limits and schedules of pipelines in, and open it.

    It is one file that needs neither a server nor a network: who promises least, and a schedule's
    exact timetable, as the sliders say; with a run of your own laid over it.
    """

    trace: Path | None = None
    """Timeline of a run to begin with, as `pprs trace` reads it."""
    profile: Path | None = None
    """Profile of a model to begin with, from `pprs plan --save-profile`."""
    out: Path = Path("explore.html")
    """File to write the page to."""
    open: bool = True
    """Open it in the browser."""

    def __post_init__(self) -> None:
        check_file(self.out)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return configured("pprs explore", ExploreConfig, explore, arguments)


def explore(config: ExploreConfig) -> None:
    """Write the page, and open it if the settings say so.

    Raises:
        ValueError: for a file that cannot be read or written.
    """
    from rich.console import Console

    text = explore_page(trace=config.trace, profile=config.profile)
    with writing(config.out):
        config.out.write_text(text, encoding="utf-8")
    console = Console()
    console.print(f"page written to {config.out}", markup=False, soft_wrap=True)
    if config.open and not webbrowser.open(config.out.resolve().as_uri()):
        console.print("no browser was found here: open the file in one", markup=False)
