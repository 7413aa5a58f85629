"""How many cores are busy while something is measured, and with what.

From /proc. What none of the processes takes is the broker's, the kernel's and that of everything
else on the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.measures.process import OtherProcess

#: Fields of the first line of /proc/stat: user, nice, system, irq and softirq.
_BUSY: Final = (1, 2, 3, 6, 7)
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")

THE_REST: Final = "broker and the rest"


class BusyCores:
    """The cores that are busy from now on."""

    def __init__(self, processes: Mapping[str, Iterable[OtherProcess]]) -> None:
        self._processes = {name: list(some) for name, some in processes.items()}
        self._since_s = time.monotonic()
        self._before_s = self._taken_s()

    def so_far(self) -> dict[str, float]:
        """The mean number of busy cores by what kept them busy."""
        took_s = time.monotonic() - self._since_s
        cores = {
            name: (taken_s - self._before_s[name]) / took_s
            for name, taken_s in self._taken_s().items()
        }
        cores[THE_REST] -= sum(taken for name, taken in cores.items() if name != THE_REST)
        return cores

    def _taken_s(self) -> dict[str, float]:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)
        taken_s = {
            name: sum(each.cpu_s() for each in some) for name, some in self._processes.items()
        }
        return taken_s | {THE_REST: sum(int(fields[place]) for place in _BUSY) * _TICK_S}
