"""What a reader does with the page."""

import csv
import io
from pathlib import Path


def opened(page, file, fragment=""):
    page.open(file, fragment)
    page.wait_for_selector("html[data-ready=yes]")
    return page


def settled(page):
    """Wait for what is drawn with the next frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def put(page, key, value):
    page.fill(f"#panel-{view(page)} [data-key={key}] input[type=number]", str(value))


def view(page):
    return page.evaluate("document.querySelector('[aria-selected=true]').dataset.view")


def rows_of(page, panel="limits"):
    """The cells of the first table, by the first of each row."""
    cells = page.evaluate(
        f"[...document.querySelectorAll('#panel-{panel} tbody tr')].map(row => "
        "[...row.cells].map(cell => cell.textContent))"
    )
    return {row[0]: row[1:] for row in cells}


def downloaded(page, figure, kind):
    with page.expect_download() as download:
        page.click(f"#figure-{figure} .downloads button:has-text('{kind}')")
    return Path(download.value.path()).read_bytes()


def lines_of(page, figure):
    text = downloaded(page, figure, "CSV").decode()
    return list(csv.DictReader(io.StringIO(text)))
