"""How much compiled code a read costs, counted in instructions of the processor by callgrind.

The code is compiled for a plain x86-64 processor here, so the counts are the same on every machine
and in every run. `test_work` counts the Python around it. Both say nothing about caches: that is
for the benchmarks.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.matching.compiled_work import READS

_ROOT: Final = Path(__file__).parents[2]
#: Instructions for one read, by its case in `compiled_work`. If they change on purpose, or with
#: numba, put the new ones here and say why in the commit.
_COSTS: Final = {
    "not listed": 607,
    "listed": 647,
    "with an alternate": 1310,
    "beside look-alikes": 771,
    "beside one misread": 985,
    "beside partial plates": 947,
    "matched": 13_785,
}
_TOLERANCE: Final = 0.02
_TIMEOUT_S: Final = 900
#: No processor's own instructions, for which numba would compile otherwise; and sets in one order.
_PLAIN: Final = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}
_COMMAND: Final = (sys.executable, "-m", "tests.matching.compiled_work")


def _run(*command: str) -> list[str]:
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env={**os.environ, **_PLAIN},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _total(profile: Path) -> int:
    found = re.search(r"^totals: (\d+)$", profile.read_text(), re.MULTILINE)
    assert found is not None, profile
    return int(found[1])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors, other instructions")
def test_a_read_costs_as_many_instructions_as_it_did(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        why = "no valgrind on PATH; on Debian and Ubuntu it is in the package valgrind"
        if os.environ.get("HOTLIST_REQUIRE_VALGRIND") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    _run(*_COMMAND)  # compiles what is not in numba's cache; valgrind would take long for that
    profiles = tmp_path / "counts"
    names = _run(
        *(valgrind, "--tool=callgrind", "--instr-atstart=no", "--dump-before=getppid"),
        *("--smc-check=all-non-file", f"--callgrind-out-file={profiles}", *_COMMAND, "counted"),
    )
    # Each second part is a case; the others lie between two cases.
    costs = {
        name: round(_total(Path(f"{profiles}.{2 * number}")) / READS)
        for number, name in enumerate(names, 1)
    }
    assert costs.keys() == _COSTS.keys()
    off = {
        name: f"{cost}, not {_COSTS[name]}"
        for name, cost in costs.items()
        if abs(cost - _COSTS[name]) > _TOLERANCE * _COSTS[name]
    }
    assert off == {}, "the compiled work of a read has changed; if on purpose, change _COSTS"
