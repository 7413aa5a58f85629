"""`python -m tests.fuzz`: fuzzes all targets, or some, for a time; or replays one input.

`make fuzz SECONDS=n SEED=s TARGETS="scanner documents"` is the same. The time is that of all
targets together. With `--grow`, small inputs that reached new lines are put into the corpus.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzzer import CORPUS, KEPT_BYTES, Target, fuzz, name_of, report
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Status 1 where an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, and stop")
    parser.add_argument("--failures", type=Path, metavar="DIRECTORY", help="where failures go")
    parser.add_argument("--grow", action="store_true", help="keep what is new in the corpus")
    parser.add_argument("--unguided", action="store_true", help="look at outcomes alone")
    options = parser.parse_args()
    for name in options.targets:
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    if options.replay is not None:
        if len(options.targets) != 1:
            parser.error("--replay takes one target")
        print(*chosen[0].run(options.replay.read_bytes()), sep="\n")
        return 0
    failures = options.failures or Path(tempfile.gettempdir()) / "hotlist-fuzz"
    print(f"seed {options.seed}", flush=True)
    failed = 0
    for target in chosen:
        seconds = options.seconds / len(chosen)
        failed += _fuzz(target, seconds, options.seed, failures, options)
    return 1 if failed else 0


def _fuzz(
    target: Target, seconds: float, seed: int, failures: Path, options: argparse.Namespace
) -> bool:
    began_s = time.monotonic()
    result = fuzz(target, seconds, seed, guided=not options.unguided)
    took_s = time.monotonic() - began_s
    print(
        f"{target.name:12} {result.tried:8} inputs, {result.tried / took_s:6.0f} a second,"
        f" {result.lines:5} lines of the engine, {len(result.outcomes):5} outcomes,"
        f" {len(result.found):4} new",
        flush=True,
    )
    if result.failing is not None:
        print(report(target, result, seed, failures), flush=True)
        return True
    if options.grow:
        for data in result.reached:
            if len(data) <= KEPT_BYTES:
                (CORPUS / target.name / name_of(data)).write_bytes(data)
    return False


if __name__ == "__main__":
    sys.exit(main())
