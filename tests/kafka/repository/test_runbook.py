"""Every command of the runbook, run in its order on a real broker; those that want a cluster or a
service manager are counted and read.
"""

from __future__ import annotations

import subprocess
import uuid
from collections import Counter
from pathlib import Path
from typing import Final

from tests.kafka.typed_pages import type_page
from tests.repository import console

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = ROOT / "deploy" / "RUNBOOK.md"
BLOCKS: Final = console.blocks(PAGE.read_text("utf-8"))

#: Blocks that are not run here, by what they want. What there are of them is noted, so that none
#: is taken out of the run unseen.
NOT_RUN: Final = {"kubectl": 5, "systemctl": 4, "docker": 1}
_WORDS: Final = {
    "kubectl": {"kubectl"},
    "systemctl": {"systemctl", "journalctl"},
    "docker": {"docker"},
}
#: `setup` names what is different for everybody; the test has values of its own for it.
_TAGS: Final = {"", "fails", "setup", *NOT_RUN}


def test_what_is_not_run_is_counted() -> None:
    counted = Counter(block.tag for block in BLOCKS)
    assert set(counted) <= _TAGS
    assert {tag: counted[tag] for tag in NOT_RUN} == NOT_RUN
    assert counted[""] > 20


def test_what_is_not_run_is_what_it_says_and_good_shell() -> None:
    for block in BLOCKS:
        if block.tag not in NOT_RUN:
            continue
        for step in block.steps:
            words = step.command.split()
            assert words[0] in _WORDS[block.tag], f"line {block.line}: {step.command}"
            read = subprocess.run(
                ["bash", "-n"], input=step.command, capture_output=True, text=True, check=False
            )
            assert read.returncode == 0, f"line {block.line}: {read.stderr}"


def test_what_is_run_works_and_prints_what_it_says(real_kafka: str, tmp_path: Path) -> None:
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    type_page(PAGE, tmp_path, real_kafka, prefix, NOT_RUN)
