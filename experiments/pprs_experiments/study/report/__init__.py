"""The report of the study: from results to tables, figures, verdicts and one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pprs_experiments.study.results import Result

__all__ = ["write_report"]


def write_report(
    results: Sequence[Result],
    folder: Path,
    accelerated: Sequence[tuple[float, float, float]] = (),
) -> Path:
    """Write the report: `report.html`, which needs no other file, `tables.md` and `figures`.

    Args:
        results: of the study; methods or cells may be missing.
        folder: where to; made if it is not there. Files of the same names are replaced.
        accelerated: the depth, the time of pipelined AGD on a β-smooth convex function, and the
            lower bound on it.

    Returns:
        The page.

    Raises:
        ValueError: for two results of a method in a cell, or goals that differ within one.
    """
    from pprs_experiments.study.report.comparing import contests
    from pprs_experiments.study.report.drawing import Picture
    from pprs_experiments.study.report.page import to_html, to_markdown
    from pprs_experiments.study.report.sections import sections

    found = sections(contests(results), accelerated)
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for section in found:
        for block in section.blocks:
            if isinstance(block, Picture):
                (figures / f"{block.name}.svg").write_text(block.svg, encoding="utf-8")
    (folder / "tables.md").write_text(to_markdown(found), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(to_html(found), encoding="utf-8")
    return page
