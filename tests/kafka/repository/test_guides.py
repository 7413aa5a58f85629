"""README's first steps and the guides, typed on a real broker from their first command to the last.

What cannot be run here is counted, so that none is taken out of the run unseen.
"""

from __future__ import annotations

import subprocess
import uuid
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.kafka.typed_pages import type_page
from tests.repository import console
from tests.repository.pages import ROOT

#: Each page that has console blocks, and how many of them are not run, by what they want: `setup`
#: is a clone's own (make, a terminal of its own, variables), `product` somebody else's software.
NOT_RUN: Final = {
    "README.md": {"setup": 3},
    "deploy/guides/lists.md": {"setup": 1},
    "deploy/guides/producers.md": {"setup": 1, "product": 1},
    "deploy/guides/second_cluster.md": {"setup": 1, "product": 1},
    "deploy/guides/tutorial.md": {"setup": 2},
    "deploy/guides/vendors.md": {},
}
_RUN: Final = {"", "fails"}


def test_no_page_is_forgotten() -> None:
    guides = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("deploy/guides/*.md")}
    with_blocks = {name for name in {"README.md", *guides} if _blocks(name)}
    assert with_blocks == NOT_RUN.keys()


@pytest.mark.parametrize("name", NOT_RUN)
def test_what_is_not_run_is_counted_and_good_shell(name: str) -> None:
    counted = Counter(block.tag for block in _blocks(name))
    assert {tag: count for tag, count in counted.items() if tag not in _RUN} == NOT_RUN[name]
    for block in _blocks(name):
        for step in block.steps:
            read = subprocess.run(
                ["bash", "-n"], input=step.command, capture_output=True, text=True, check=False
            )
            assert read.returncode == 0, f"{name}, line {block.line}: {read.stderr}"


@pytest.mark.parametrize("name", NOT_RUN)
def test_what_is_run_works_and_prints_what_it_says(
    name: str, real_kafka: str, tmp_path: Path
) -> None:
    for directory in ("deploy", "schemas", "tests"):
        (tmp_path / directory).symlink_to(ROOT / directory)
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    type_page(ROOT / name, tmp_path, real_kafka, prefix, NOT_RUN[name].keys() - {"setup"})


def _blocks(name: str) -> list[console.Block]:
    return console.blocks((ROOT / name).read_text("utf-8"))
