"""Draws the picture of the first page: a pipeline that waits, and the same one filled.

`python docs/draw_pipeline.py` writes it; the timetables are those of `pprs.theory`.
"""

from __future__ import annotations

from pathlib import Path

from pprs.theory import Graph, clock_table

PICTURE = Path(__file__).parent / "images" / "pipeline.svg"
STAGES, GRADIENTS = 4, 4
UNIT, ROW, LEFT = 36, 22, 78
COLOURS = {"F": "#2f6fb3", "B": "#c2571a", ".": "#e6e8eb"}


def picture() -> str:
    """The whole picture, as SVG."""
    plain, filled = table(1), table(GRADIENTS)
    width = LEFT + UNIT * len(filled[0]) + 14
    parts = [
        *timetable(plain, 30, f"one gradient: {len(plain[0])} units of time; grey is waiting"),
        *timetable(
            filled,
            62 + ROW * STAGES,
            f"{GRADIENTS} gradients at perturbed parameters: {len(filled[0])} units",
        ),
    ]
    height = 78 + 2 * ROW * STAGES
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
            f"<title>Four stages, with one gradient and with {GRADIENTS}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def table(gradients: int) -> list[list[str]]:
    """What each stage does in each unit of time."""
    drawn = clock_table(Graph.chain(STAGES), gradients, "gpipe")
    return [line.split() for line in str(drawn).splitlines()]


def timetable(rows: list[list[str]], top: int, title: str) -> list[str]:
    """A row for each stage, under a title."""
    parts = [f'<text x="14" y="{top - 10}" fill="#1b1f24" font-weight="bold">{title}</text>']
    for number, row in enumerate(rows):
        y = top + number * ROW
        parts.append(f'<text x="14" y="{y + 14}" fill="#1b1f24">stage {number + 1}</text>')
        for time, task in enumerate(row):
            x = LEFT + time * UNIT
            colour = COLOURS[task[0]]
            parts.append(
                f'<rect x="{x}" y="{y}" width="{UNIT - 2}" height="{ROW - 3}" fill="{colour}"/>'
            )
            if task != ".":
                name = f"{task[0]}{int(task[1:]) + 1}"
                parts.append(
                    f'<text x="{x + UNIT // 2 - 1}" y="{y + 14}" fill="#ffffff" '
                    f'text-anchor="middle">{name}</text>'
                )
    return parts


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
