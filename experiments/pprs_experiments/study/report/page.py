"""The report as one page of HTML that needs nothing else, and its tables in Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

from pprs_experiments.study.report.drawing import Picture
from pprs_experiments.study.report.sections import Block, Heading, Section
from pprs_experiments.study.report.tables import Table, escaped

TITLE = "What randomly smoothed gradients bring"
HOW_TO_READ = (
    "A cell is one task with one budget. Every method was tuned with the same number of trials on "
    "problems of its own, then run on new ones, the same for all methods of a cell. Who is the "
    "best in a cell was decided by the value in tuning, not by the outcomes that are compared.",
    "Outcomes are interquartile means over seeds. Gains are paired differences, or ratios of "
    "times, and above 0 (or 1) the method is better. Intervals are 95 % bootstrap intervals, each "
    "on its own. A verdict is better or worse only if an exact signed-rank test says so at 5 %, "
    "corrected (Holm) for all cells, or pairs, of its table, and the interval agrees. The rows of "
    "all cells are tests of their own; questions and budgets are not corrected for each other. No "
    "difference seen does not mean that there is none.",
    "Every method was tuned once in a cell: luck in that is shared by its seeds. The row by cells, "
    "where there are at least 6, takes it in, with whole cells as units (wins are of cells): as "
    "far as the luck is as likely to favour either, and as cells, which were chosen and not drawn, "
    "speak for others. All other intervals and verdicts are about these cells with this tuning.",
    "Fewer than 6 seeds cannot show a difference in a single cell (a quick study has 3: its "
    "figures mean nothing). A mean is never reached where more than a quarter of the seeds did not "
    "reach the target.",
)
_CSS = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1rem;color:#222;
background:#fff}
h1,h2,h3{line-height:1.25}h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1rem}
a{color:#0062a3}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
td{white-space:nowrap}td:last-child{white-space:normal}
figure{margin:1.5rem 0;overflow-x:auto}
img{display:block;width:100%;min-width:34rem;height:auto}
summary{cursor:pointer;padding:.2rem 0}
@media print{body{max-width:none;font-size:10pt;padding:0}figure,tr{break-inside:avoid}
.wide,figure{overflow:visible}img{min-width:0}table{font-size:7pt}td{white-space:normal}
details::details-content{content-visibility:visible;display:block;height:auto}}
"""


def to_html(sections: Sequence[Section]) -> str:
    """The page."""
    links = "".join(
        f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>\n'
        for section in sections
    )
    read = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in HOW_TO_READ)
    body = "".join(map(_section, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(TITLE)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{escape(TITLE)}</h1>\n<nav>\n<ul>\n{links}</ul>\n</nav>\n"
        f"<h2>How to read it</h2>\n{read}{body}</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    title = f'<h2 id="{section.anchor}">{escape(section.title)}</h2>\n'
    return f"<section>\n{title}{''.join(map(_block, section.blocks))}</section>\n"


def _block(block: Block | Heading) -> str:
    if isinstance(block, Heading):
        return f"<h3>{escape(block.text)}</h3>\n"
    if isinstance(block, Table):
        return _folded(_table(block), block.title, block.long)
    if isinstance(block, Picture):
        return _folded(_picture(block), block.alt, block.long)
    return f"<p>{escape(block)}</p>\n"


def _folded(html: str, title: str, long: bool) -> str:
    if not long:
        return html
    return f"<details>\n<summary>{escape(title)}</summary>\n{html}</details>\n"


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_entry(entry)}</td>' for entry in row)}</tr>\n" for row in table.rows
    )
    return (
        f'<div class="wide">\n<table>\n<caption>{escape(table.title)}</caption>\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )


def _entry(text: str) -> str:
    bold = re.fullmatch(r"\*\*(.*)\*\*", text)
    return f"<strong>{escape(bold[1])}</strong>" if bold else escape(text)


def _picture(picture: Picture) -> str:
    # As an image, so that the names inside of one figure do not meet those of another.
    data = base64.b64encode(picture.svg.encode()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<figure>\n<img src="{source}" alt="{escape(picture.alt)}">\n</figure>\n'


def to_markdown(sections: Sequence[Section]) -> str:
    """The sentences and tables, without the figures, under headings of the second level."""
    lines = []
    for section in sections:
        blocks = [_markdown(block) for block in section.blocks if not isinstance(block, Picture)]
        if any(not isinstance(block, Picture | Heading) for block in section.blocks):
            lines.append("\n".join([f"## {section.title}\n", *blocks]))
    return "\n".join(lines)


def _markdown(block: str | Table | Heading) -> str:
    if isinstance(block, Table):
        return block.to_markdown()
    return f"### {block.text}\n" if isinstance(block, Heading) else f"{escaped(block)}\n"
