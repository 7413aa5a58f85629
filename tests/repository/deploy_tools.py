"""The tools that the files of deploy/ are held against, where there are any.

`make deploy-tools` installs those from Python's registry beside the interpreter; systemd's come
with the system. Where one is missing its tests are skipped and say why, except with
`HOTLIST_REQUIRE_DEPLOY_TOOLS=1`: then they fail.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

_HINT = "`make deploy-tools` installs it"


def run_tool(name: str, *arguments: str, hint: str = _HINT) -> str:
    """What a tool prints, errors and all; fails the test where its status is not 0."""
    done = subprocess.run(
        [find_tool(name, hint), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def find_tool(name: str, hint: str = _HINT) -> str:
    """Where a tool is."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        _missing(f"no {name} here; {hint}")
    return found


def import_tool(name: str) -> Any:
    """A module that only these tests need."""
    if importlib.util.find_spec(name) is None:
        _missing(f"no module {name} here; {_HINT}")
    return importlib.import_module(name)


def _missing(why: str) -> NoReturn:
    if os.environ.get("HOTLIST_REQUIRE_DEPLOY_TOOLS") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
