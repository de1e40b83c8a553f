"""Text that comes from files of the user: what it may hold on a page."""

from __future__ import annotations

import unicodedata

MARK = "pprs report"
"""In a comment at the beginning of each file, which tells that it may be written again."""

_LONGEST = 300


def clean(text: str) -> str:
    """The text on one line, with what cannot be seen or turns its direction made visible."""
    shown = "".join(map(_shown, text))
    return shown if len(shown) <= _LONGEST * 4 else f"{shown[: _LONGEST * 4]}…"


def markdown(text: str) -> str:
    """The text such that Markdown takes nothing in it for a mark."""
    escaped = "".join(f"\\{c}" if c in r"\`*_[]|~#$" else c for c in clean(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if character in "\t\n\r":
        return " "
    # Controls, what turns the direction of writing, halves of a character, and bytes of a name.
    if kind in ("Cc", "Cs") or (kind == "Cf" and character not in "\u200c\u200d"):
        return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
    return character
