"""The API pages: nothing public is missing, and all has words, types and an example."""

import inspect
import re
from importlib import import_module

import pytest
from docs.blocks import PAGES, ROOT

from docs.site_extensions import listing, markdown

ENTRIES = [listing.entry(module, name) for module, names in listing.listed() for name in names]
# The help of a command, a class with many arguments, and what needs other packages.
SHOWN_BY = {
    "pprs.training.TrainConfig": "its function `train`",
    "pprs.pipeline.Pipeline": "docs/api/pipeline.md",
    "pprs.integrations.PipelineStrategy": "docs/integrations.md",
    "pprs.integrations.Pipelined": "docs/integrations.md",
    "pprs.integrations.PipelinedAccelerator": "docs/integrations.md",
    "pprs.integrations.PipelinedTrainer": "docs/integrations.md",
    "pprs.integrations.SmoothedLoss": "docs/integrations.md",
    "pprs.integrations.SmoothedTrainer": "docs/integrations.md",
}


def test_every_public_name_is_shown():
    page = (ROOT / "docs" / "stability.md").read_text()
    shown = {entry.name.rpartition(".")[::2] for entry in ENTRIES}
    for room, names in re.findall(r"^\| `(pprs[\w.]*)` \| (.+) \|$", page, re.MULTILINE):
        promised = [*listing.public(room)] if "`__all__`" in names else []
        promised += [n for n in re.findall(r"`(\w+)`", names) if n != "__all__"]
        for name in set(promised) - {"DEFAULT_SAMPLES"}:
            value = getattr(import_module(room), name)
            everywhere = {e for e in shown if getattr(import_module(e[0]), e[1], None) is value}
            assert (room, name) in shown or everywhere, (room, name)


def test_every_public_name_is_told_of_on_a_page():
    """The reference is empty where it is not built: on GitHub the other pages are all there is."""
    pages = [page for page in PAGES if "api" not in page.parts and page.name != "CHANGELOG.md"]
    words = set(re.findall(r"\w+", "\n".join(page.read_text() for page in pages)))
    assert not [entry.name for entry in ENTRIES if entry.name.split(".")[-1] not in words]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_public_name_has_words_types_and_an_example(entry):
    assert entry.summary
    if entry.kind in ("class", "function"):
        assert ">>>" in entry.doc or entry.name in SHOWN_BY
    for each in [entry, *entry.members]:
        if each.signature is not None:
            for parameter in each.signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, (each.name, parameter)


def test_sections_of_a_docstring_become_fields_and_its_examples_code():
    page = markdown.page(
        "One line.\n\nMore.\n\nArgs:\n    first: a number\n        above 0.\n    *others: more.\n\n"
        "Raises:\n    ValueError: if not.\n\nExample:\n    >>> 1 + 1\n    2\n"
    )
    assert "One line.\n\nMore." in page
    assert ":param first: a number\n  above 0." in page
    assert r":param \*others: more." in page
    assert ":raises ValueError: if not." in page
    assert "```pycon\n>>> 1 + 1\n2\n```" in page
