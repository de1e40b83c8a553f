"""Whether every link of a built site leads somewhere: `python docs/check_site.py build/site`.

Links to files of the site and to places in them are followed; those to other sites are only
counted, so that nothing here needs a network. What a page would load from elsewhere is refused.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that are links or places."""
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if "src" in found:
            self.loads.append(found["src"])
        if "href" in found:
            (self.loads if tag == "link" else self.links).append(found["href"])


def broken(site: Path) -> list[str]:
    """A line for each link that leads nowhere, and for each thing loaded from elsewhere."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    faults = []
    for file, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    faults.append(f"{file.relative_to(site.resolve())} loads {link}")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            places = pages[target].places if target in pages else {parts.fragment}
            if not target.exists() or unquote(parts.fragment) not in places:
                faults.append(f"{file.relative_to(site.resolve())} links to {link}")
    return faults


def main(site: Path) -> int:
    """Print what is broken; returns the exit code."""
    faults = broken(site)
    print(*faults or [f"all links of {site} lead somewhere"], sep="\n")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
