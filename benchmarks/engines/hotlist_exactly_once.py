"""The hotlist worker with delivery exactly once: `benchmarks.engines.hotlist` in all else.

Counted are matches whose transaction is committed.
"""

from __future__ import annotations

from benchmarks.engines.hotlist import main

if __name__ == "__main__":
    main("exactly_once")
