"""The steps that turn pages into a site."""

import pytest

from docs.check_site import broken
from docs.site_extensions.mathml import mathml


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\frac12 x", "<mfrac><mn>1</mn><mn>2</mn></mfrac><mi>x</mi>"),
        (r"\tfrac1n", "<mn>1</mn><mi>n</mi></mfrac>"),
        (
            r"\sqrt{2\log n}",
            '<mi>log</mi><mo>&ApplyFunction;</mo><mspace width="0.1667em"></mspace><mi>n</mi>',
        ),
        (r"1, \dots, d", "<mi>…</mi>"),
        (r"\Big(x\Big)", "<mi>x</mi>"),
        ("⟦1, d⟧", "<mo>⟧</mo>"),
    ],
)
def test_formulas_are_read_as_tex_reads_them(tex, shown):
    assert shown in "".join(line.strip() for line in mathml(tex).splitlines())


def test_broken_links_and_what_is_loaded_from_elsewhere_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#there"></a><a href="c.html"></a>'
        '<a href="https://example.org/"></a><script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    assert broken(tmp_path) == [
        "a.html links to b.html#there",
        "a.html links to c.html",
        "a.html loads https://example.org/x.js",
    ]
