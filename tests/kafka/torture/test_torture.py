"""The short form of the fault campaign (`make torture`): on one broker every kind of fault that
costs little, and on three brokers those of a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka.broker import RealBroker

_ROOT = Path(__file__).resolve().parents[3]
SEED = 20261122
#: By options of the campaign. It lasts longer, because each kind comes once at least.
FAULTS = {
    ("--seconds", "25"): (
        *("kill", "stop", "remove", "add", "clock", "cut", "reset", "half_close", "slow", "silent"),
        *("broker_kill", "broker_pause", "grow", "copy"),
    ),
    ("--seconds", "15", "--brokers", "3", "--delivery", "exactly_once"): (
        *("kill", "leader_kill", "coordinator_kill", "transaction_coordinator_kill", "two_kill"),
        *("rolling", "move", "elect", "copy"),
    ),
}
_AT_MOST_S = 1200


@pytest.fixture
def a_broker_can_start() -> None:
    reason = RealBroker.unavailable_reason()
    if reason is not None:
        why = f"no broker that may be killed: {reason}"
        if os.environ.get("HOTLIST_REQUIRE_KAFKA") == "1":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


def _campaign(kept: Path, *options: str, faults: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start a campaign with these faults that keeps its result there."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.torture", "--seed", str(SEED), "--json", str(kept)),
            *("--faults", ",".join(faults), *options),
        ],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.usefixtures("a_broker_can_start")
@pytest.mark.parametrize(
    ("options", "faults"), FAULTS.items(), ids=["one broker", "three brokers, exactly once"]
)
def test_nothing_is_lost_and_nothing_invented(
    tmp_path: Path, options: tuple[str, ...], faults: tuple[str, ...]
) -> None:
    """On a failure, what it printed says the seed, what is wrong and where the logs lie."""
    kept = tmp_path / "result.json"
    campaign = _campaign(kept, "--workers", "2", *options, faults=faults)
    try:
        output, _ = campaign.communicate(timeout=_AT_MOST_S)
    finally:
        campaign.kill()
        campaign.wait()
    assert campaign.returncode == 0, f"python -m tests.torture, seed {SEED}:\n{output}"
    result = json.loads(kept.read_text())
    assert {row["kind"] for row in result["faults"]} == set(faults), output
    findings = result["findings"]
    assert findings["problems"] == []
    # It must have had something to find.
    assert findings["matches"] > 200, output
    assert findings["churn_certain"] > 50, output
    assert findings["folded"] > 20, output
    assert result["changes"]["commit"] > 0, output
    assert result["audit"].endswith("whole"), output


@pytest.mark.usefixtures("a_broker_can_start")
def test_ctrl_c_judges_and_keeps_what_was_sent(tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    campaign = _campaign(kept, "--workers", "1", "--seconds", "300", faults=("reset",))
    assert campaign.stdout is not None
    printed = []
    try:
        for line in campaign.stdout:
            printed.append(line)
            if " s  reset, " in line:  # the first fault is over
                campaign.send_signal(signal.SIGINT)
                break
        printed.append(campaign.communicate(timeout=_AT_MOST_S)[0])
    finally:
        campaign.kill()
        campaign.wait()
    output = "".join(printed)
    assert campaign.returncode == 0, output
    assert "nothing lost, nothing invented; ended early" in output
    result = json.loads(kept.read_text())
    assert result["is_whole"] is False
    assert [row["times"] for row in result["faults"]] == [1], output
    assert result["findings"]["reads"] > 0, output
    assert result["audit"].endswith("whole"), output
