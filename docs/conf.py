"""The site, which `make docs` builds from the repository's Markdown: see the map in docs/index.md.

The source folder is the repository's root, so that links between its files hold here as well.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import pprs  # noqa: E402

project = "pprs"
author = "the pprs authors"
copyright = author
version = release = pprs.__version__

extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "site_extensions.api",
    "site_extensions.explore",
    "site_extensions.mathml",
    "site_extensions.names",
    "site_extensions.sources",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "*.md", "benchmarks/*/README.md", "experiments/README.md",
    "experiments/*/README.md", "experiments/study/*.md", "examples/**.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "dist", "runs", "pprs", "tests", "**/node_modules"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 6
myst_dmath_double_inline = True
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures, of torch and others
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
highlight_language = "text"

suppress_warnings = [
    "ref.python",  # names of types that two packages have
    "myst.header",  # pages that programs write begin at the second level
]

html_theme = "furo"
html_title = f"pprs {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["pprs.css"]
html_extra_path = ["_root"]  # index.html, which leads to the first page
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
