"""Docstrings, which are Markdown with sections such as `Args:`, as pages for MyST."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_FIELDS = {"Args": "param", "Attributes": "ivar", "Raises": "raises"}
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):\n", re.MULTILINE)


def page(docstring: str) -> str:
    """A docstring as MyST reads it: sections as fields, examples as blocks of code."""
    before, *rest = _SECTION.split(docstring + "\n")
    parts = [_prose(before)]
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        section, after = _indented(text)
        if name in _FIELDS:
            parts += [_field(f"{_FIELDS[name]} {item}") for item in _items(section)]
        elif name in ("Returns", "Yields"):
            parts.append(_field(f"returns: {section}"))
        else:
            parts += ["\n**Example**\n", _prose(section)]
        parts.append("\n" + _prose(after))
    return "\n".join(part for part in parts if part.strip())


def _indented(text: str) -> tuple[str, str]:
    """The indented lines with which a text begins, without their indent, and what follows."""
    lines = text.split("\n")
    end = next((i for i, line in enumerate(lines) if line and line[0] != " "), len(lines))
    return textwrap.dedent("\n".join(lines[:end])).strip(), "\n".join(lines[end:])


def _items(section: str) -> Iterator[str]:
    """The items `name: text` of a section, whose further lines are indented."""
    return (item.strip() for item in re.split(r"\n(?=\S)", section) if item.strip())


def _field(item: str) -> str:
    """A field, whose further lines must be indented, with the name that Sphinx looks for."""
    name, _, text = item.partition(":")
    name = name.replace("*", r"\*").replace("`", "")
    first, _, rest = text.partition("\n")
    first, *further = _prose(f"{first}\n{textwrap.dedent(rest)}").rstrip().split("\n")
    return "\n".join([f":{name}: {first.strip()}", *(f"  {line}".rstrip() for line in further)])


def _prose(text: str) -> str:
    """Text whose doctests are fenced, and whose pages are links."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        starts = line.lstrip().startswith(">>>")
        if starts and not inside:
            lines += ["", "```pycon"]
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line.strip() if starts else line)
    if inside:
        lines.append("```")
    return re.sub(r"\bdocs/(\w+)\.md\b", r"[\1](/docs/\1.md)", "\n".join(lines)) + "\n"
