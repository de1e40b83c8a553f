"""What the pages tell a reader to run, runs."""

import re
import shlex

import pytest
import warm
from docs.blocks import PAGES, ROOT, blocks, name

pytestmark = [pytest.mark.dist, pytest.mark.slow]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_the_blocks_of_a_page_run_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = {"__name__": "page"}
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        if test := block.said("run by"):
            file, _, function = test.partition("::")
            assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), where
        elif block.said("not run"):
            continue
        elif block.file:
            (tmp_path / block.file).write_text(block.code)
        elif block.language == "python" and not block.code.startswith(">>>"):
            exec(compile(block.said("before"), f"{where}, before", "exec"), seen)
            exec(compile("\n" * block.line + block.code, str(page), "exec"), seen)
        elif block.language == "sh":
            run(block.code, where)


def run(code, where):
    for line in re.sub(r"\\\n", " ", code).splitlines():
        command, *arguments = shlex.split(line, comments=True) or ["#"]
        if command == "#":
            continue
        assert command == "pprs", f"{where}: say above the block why `{line}` is not run"
        done = warm.run("pprs", *arguments)
        assert done.returncode == 0, (where, line, done.stderr)
