"""`python -m engine` is the same as `hotlist`."""

from __future__ import annotations

from engine.cli import main

if __name__ == "__main__":
    main(prog_name="hotlist")
