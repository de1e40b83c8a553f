"""Blocks of code on pages, and what a comment above each says of running it.

`<!-- not run: why -->` and `<!-- run by: tests/file.py::name -->` stand for themselves;
`<!-- before: code -->` is run first, and not shown. A Python block that begins with `# name.py`
is a file of that name, for the shell blocks that follow.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "benchmarks/*/README.md",
        "examples/*.md",
        "experiments/**/README.md",
    )
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
_FENCE = re.compile(
    r"^(?:<!--\s*(?P<note>(?:(?!-->).)*?)\s*-->\n)?"
    r"```(?P<language>python|sh)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    note: str
    line: int

    def said(self, what):
        """What the comment above says of it under this heading, or nothing."""
        heading, _, text = self.note.partition(":")
        return text.strip() if heading == what else ""

    @property
    def file(self):
        """The file that it is, if its first line names one."""
        found = re.match(r"# (\w+\.py)\n", self.code)
        return found[1] if found and self.language == "python" else None


def blocks(page):
    text = page.read_text()
    return [
        Block(m["language"], m["code"], m["note"] or "", text.count("\n", 0, m.start("code")))
        for m in _FENCE.finditer(text)
    ]


def name(page):
    return str(page.relative_to(ROOT))
