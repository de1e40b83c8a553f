import base64
from html.parser import HTMLParser

import pytest

from pprs_experiments.study.report.drawing import Picture
from pprs_experiments.study.report.page import to_html, to_markdown
from pprs_experiments.study.report.sections import Heading, Section
from pprs_experiments.study.report.tables import Table

_VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """What is in a page; fails where elements do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def sections():
    table = Table("t", ("<th>", "b"), (("**x & y**", "<script>alert(1)</script>"),), long=True)
    picture = Picture("p", 'a "quoted" <alt>', '<svg xmlns="http://www.w3.org/2000/svg"/>')
    return [
        Section("1. First?", "first", ("5 < 6 & 7 <b>", Heading("Part"), table)),
        Section("Second", "second", (picture,)),
    ]


def test_the_page_nests_and_escapes_what_it_is_given(sections):
    html = to_html(sections)
    page = Page(html)
    text = "".join(page.text)
    assert "5 < 6 & 7 <b>" in text
    assert "<script>alert(1)</script>" in text
    assert page.all("script") == []
    assert "<strong>x &amp; y</strong>" in html


def test_links_of_the_contents_lead_to_the_sections(sections):
    page = Page(to_html(sections))
    links = [attrs["href"] for attrs in page.all("a")]
    assert links == ["#first", "#second"]
    assert {attrs["id"] for attrs in page.all("h2") if "id" in attrs} == {"first", "second"}


def test_figures_are_in_the_page_and_have_words(sections):
    (image,) = Page(to_html(sections)).all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == sections[1].blocks[0].svg
    assert image["alt"] == 'a "quoted" <alt>'


def test_markdown_has_sentences_and_tables_but_no_figures(sections):
    text = to_markdown(sections)
    assert text.startswith("## 1. First?\n\n5 &lt; 6 &amp; 7 &lt;b>\n\n### Part\n\n<details>")
    assert "Second" not in text
    assert "svg" not in text
