"""A headless Chromium for tests of pages; where there is none, these are skipped, and say why.

`conftest.py` has the fixtures: `page` is a light page as wide as a desktop, and
`window(chromium, PHONE, "dark")` gives other ones; `page.open(path)` opens a file.
"""

import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1100, "height": 800}


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests of a process."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="no browser tests: pip install playwright"
    )
    where = shutil.which("chromium") or shutil.which("google-chrome")
    if where is None:
        pytest.skip("no browser tests: found no chromium; apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=ARGUMENTS)
        yield browser
        browser.close()


class Page:
    """A page without a network, and what went wrong in it."""

    def __init__(self, page):
        self.page, self.errors, self.requests = page, [], []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def __getattr__(self, name):
        return getattr(self.page, name)

    def open(self, path, fragment=""):
        """Open a file from disk; `fragment` is the part of its address behind it, with its mark."""
        self.requests.clear()
        self.page.goto(Path(path).resolve().as_uri() + fragment)
        return self

    def quiet(self):
        """Fail if anything went wrong, or anything but files on disk was asked for."""
        assert self.errors == []
        assert [
            url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))
        ] == []

    def scrolls_sideways(self):
        """Whether the page is wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )

    def accessibility(self):
        """What axe finds serious or critical: the rule and the first places."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the package imports
            from axe_playwright_python.sync_playwright import Axe
        found = Axe().run(self.page).response["violations"]
        return [
            (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")


@contextmanager
def window(browser, size=None, scheme="light", **options):
    """A page of its own, as `Page`: a size such as `PHONE`, a scheme `light` or `dark`."""
    context = browser.new_context(
        viewport=size or DESKTOP, color_scheme=scheme, offline=True, **options
    )
    context.set_default_timeout(60_000)
    try:
        yield Page(context.new_page())
    finally:
        context.close()


@pytest.fixture
def page(chromium):
    """A page of its own for a test: light, as wide as a desktop; what went wrong fails it."""
    with window(chromium) as page:
        yield page
        page.quiet()
