"""What a run ran on: processor, memory, and the versions of what took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

_PACKAGES = ("hotlist-engine", "aiokafka", "faust-streaming", "numba", "numpy", "cramjam", "uvloop")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, without its name or address."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    load_1m: float


def describe_machine() -> Machine:
    """This machine now; `load_1m` shows whether something else kept it busy."""
    return Machine(
        cpu=_cpu(),
        cores=_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        load_1m=round(os.getloadavg()[0], 2),
    )


def describe_versions() -> dict[str, str]:
    """Python, Java, the packages that do the work, and the broker that we start."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    java = _java()
    if java:
        versions["java"] = java
    return versions


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def _java() -> str | None:
    try:
        done = subprocess.run(
            ["java", "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return None
    found = re.search(r'version "([^"]+)"', done.stderr)
    return found.group(1) if found else None
