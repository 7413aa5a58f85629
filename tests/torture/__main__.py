"""The command line of the campaign: `python -m tests.torture --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.kafka.broker import RealBroker
from tests.kafka.real_cluster import REPLICAS
from tests.torture import report
from tests.torture.campaign import Campaign, Plan, Result
from tests.torture.schedule import EVERY_S, KINDS, kinds_with

#: Signals that end a campaign early.
_ENDING = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run a campaign; 0 where all is as demanded, 1 where it is not, 2 where it cannot be run."""
    options = _parser().parse_args()
    possible = kinds_with(options.brokers, options.delivery)
    kinds = possible if options.faults is None else tuple(options.faults.split(","))
    unknown = [kind for kind in kinds if kind not in possible]
    if unknown:
        print(
            f"no such fault with --brokers {options.brokers} --delivery {options.delivery}: "
            f"{unknown[0]}; there are {', '.join(possible)}",
            file=sys.stderr,
        )
        return 2
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        print(f"cannot start Kafka: {reason}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    plan = Plan(
        seed,
        options.seconds,
        kinds,
        options.delivery,
        options.workers,
        options.rate,
        options.session,
        options.brokers,
        options.every,
    )
    # What our own clients have to say of a broker that is away is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    directory = Path(tempfile.mkdtemp(prefix="hotlist-torture-"))
    print(f"seed {seed}; the workers' logs lie in {directory}", flush=True)
    result = asyncio.run(_run(plan, directory, options.json))
    print(f"\n{report.table(result)}\n")
    for line in report.summary(result):
        print(line)
    if result.findings.problems:
        print(f"\nseed {seed} has found problems; logs: {directory}", file=sys.stderr)
        for problem in result.findings.problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    print("nothing lost, nothing invented" + ("" if result.is_whole else "; ended early"))
    if not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


async def _run(plan: Plan, directory: Path, kept: Path | None) -> Result:
    """Run it. Ctrl-C ends it early: what was sent by then is judged. A second one ends it at once,
    and what the last round came to is kept."""

    def keep(result: Result) -> None:
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(report.as_json(result), indent=1) + "\n")

    campaign = Campaign(plan, directory, _say, keep)
    loop = asyncio.get_running_loop()
    own = asyncio.current_task()
    assert own is not None

    def on_signal() -> None:
        for each in _ENDING:
            loop.remove_signal_handler(each)
            loop.add_signal_handler(each, own.cancel)
        _say("no further faults: what was sent is judged; again to end at once")
        campaign.end_early()

    for each in _ENDING:
        loop.add_signal_handler(each, on_signal)
    result = await campaign.run()
    keep(result)
    return result


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="A fault campaign on a real Kafka.",
        epilog="Faults: " + "; ".join(f"{kind}: {each.does}" for kind, each in KINDS.items()),
    )
    parser.add_argument(
        "--seconds", type=float, default=120, help="of faults, without calms (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="the same one makes the same schedule (any)")
    parser.add_argument(
        "--delivery", choices=("at_least_once", "exactly_once"), default="at_least_once"
    )
    parser.add_argument(
        "--brokers", type=int, choices=(1, REPLICAS), default=1, help="(%(default)s)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=EVERY_S,
        help="seconds between faults of a storm (%(default)s)",
    )
    parser.add_argument("--faults", metavar="KIND,...", help="these alone (all)")
    parser.add_argument("--workers", type=int, default=3, help="at a time (%(default)s)")
    parser.add_argument("--rate", type=int, default=150, help="reads a second (%(default)s)")
    parser.add_argument(
        "--session",
        type=float,
        default=6.0,
        help="seconds until the group gives up a silent worker (%(default)s; limits.SESSION_S in "
        "production), so that many sessions can run out",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the result there")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a good run too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
