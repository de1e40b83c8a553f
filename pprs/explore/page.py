"""The page as one file: its styles, its program and what it is given stand in it."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pprs import __version__

_IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"\./([\w./-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def explore_page(*, trace: Path | None = None, profile: Path | None = None) -> str:
    """A page that needs no server and no network.

    Args:
        trace: timeline of a run, which `pprs train --trace` and others write, to begin with.
        profile: of a model, which `pprs plan --save-profile` writes, to begin with.

    Returns:
        Its HTML.

    Raises:
        ValueError: with the reason, for a file that cannot be read or is no such file.
    """
    given: dict[str, Any] = {}
    if trace is not None:
        from pprs.pipeline.trace.timeline import Timeline

        Timeline.load(trace)
        given["trace"] = {"name": trace.name, "text": trace.read_text(encoding="utf-8")}
    if profile is not None:
        from pprs.plan.profile import Profile

        Profile.load(profile)
        given["profile"] = {"name": profile.name, "text": profile.read_text(encoding="utf-8")}
    parts = {
        "style": _read("style.css"),
        "program": program(),
        "given": _in_script(given),
        "version": __version__,
    }
    # In one pass, so that nothing in a part is taken for the place of another.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))


@cache
def program(first: str = "main.js") -> str:
    """The modules in one, each after those that it imports; their names are all different."""
    order: list[str] = []
    _visit(first, order)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"js/{name}"))) for name in order)


def _visit(name: str, order: list[str]) -> None:
    if name in order:
        return
    for imported in _IMPORT.findall(_read(f"js/{name}")):
        _visit(imported, order)
    order.append(name)


def _read(name: str) -> str:
    return files("pprs.explore").joinpath(name).read_text(encoding="utf-8")


def _in_script(value: object) -> str:
    """JSON that no parser of HTML ends early."""
    return json.dumps(value).replace("<", "\\u003c")
