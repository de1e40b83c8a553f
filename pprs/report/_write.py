"""The files of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pprs.io.files import check_file, writing
from pprs.report._folder import contents
from pprs.report._html import as_html
from pprs.report._markdown import as_markdown
from pprs.report._runs import distinct, run_of
from pprs.report._sections import sections_of
from pprs.report._words import MARK

REPORT = "report.html"


def write(folder: Path) -> Path:
    """Write `report.html` and `report.md` into the folder of a run.

    Args:
        folder: that `pprs train` or `pprs compare` has written, or still writes.

    Returns:
        The HTML file.

    Raises:
        ValueError: as `write_all`.
    """
    return write_all([folder], Path(folder) / REPORT)


def write_all(folders: Sequence[Path], out: Path) -> Path:
    """Write a report of several runs; what is missing or wrong in their files stands in it.

    Args:
        folders: of runs, in the order in which they are shown; one that is named twice counts once.
        out: the HTML file; Markdown goes beside it, under the same name with `.md`.

    Returns:
        The HTML file.

    Raises:
        ValueError: for a folder that is not there or is not that of a run, a file that cannot be
            written, or one of these names that something else has written.
    """
    chosen = list({Path(folder).resolve(): Path(folder) for folder in folders}.values())
    if not chosen:
        raise ValueError("name at least one folder of a run, such as runs/train")
    read = [contents(folder) for folder in chosen]
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise ValueError(f"cannot write {out}: the name of a report must end in .html")
    check_file(out)
    beside = out.with_suffix(".md")
    for file in (out, beside):
        _check_ours(file)
    names = distinct([f.resolve().name for f in chosen], [f"{f.resolve()}" for f in chosen])
    runs = [run_of(files, name) for files, name in zip(read, names, strict=True)]
    report = sections_of(runs)
    pages = {beside: as_markdown(report, out.name), out: as_html(report, beside.name)}
    for file, text in pages.items():
        with writing(file):
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
    return out


def _check_ours(file: Path) -> None:
    """Raise unless the file is not there, or is that of a report."""
    with writing(file):
        if file.exists():
            with file.open(encoding="utf-8", errors="replace") as opened:
                if f"<!-- {MARK} -->" not in opened.read(200):
                    raise ValueError(
                        f"cannot write {file}: it is there, and was not written by `pprs report`; "
                        f"choose another name with --out"
                    )
