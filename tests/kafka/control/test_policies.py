"""Policies while a worker runs: what is set, narrowed and removed counts for the reads after it,
and `policies explain` says the same as the worker does."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import matched_reads, reads, sent
from tests.kafka.records import produce, until
from tests.kafka.worker_here import WorkerHere, worker_here


class Scene:
    """A running worker with one entry, whose policies change between reads."""

    def __init__(self, bootstrap: str, prefix: str, worker: WorkerHere) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.topics = Topics(prefix)
        self.worker = worker
        self.sent = 0
        self.matched: list[str] = []

    async def control(self, topic: str, *documents: Any) -> None:
        """Change the lists and wait until the worker has heard of it."""
        before = self.worker.metric("hotlist_control_records_total")
        await produce(self.bootstrap, topic, sent(*documents))

        async def heard() -> bool:
            await self.worker.alive()
            after = self.worker.metric("hotlist_control_records_total")
            return after >= before + len(documents)

        await until(heard, "the worker has heard of the change", self.worker.log)

    async def policy(self, **fields: Any) -> None:
        await self.control(self.topics.policies, a_policy(**fields))

    async def read(self, **fields: Any) -> bool:
        """Send a read; whether it matched. `policies explain` must have said so before."""
        self.sent += 1
        read_id = f"R-{self.sent}"
        read = a_read(read_id=read_id, **fields)
        region = ["--region", read["region"]] if "region" in read else []
        said = await asyncio.to_thread(self.explain, "--source", read["source"], *region)
        assert said.stderr == ""
        await produce(self.bootstrap, self.topics.detections, reads(read))
        await self.worker.has_processed(self.sent)

        async def delivered() -> bool:
            await self.worker.alive()
            denied = self.worker.metric("hotlist_denied_total")
            return self.worker.metric("hotlist_matches_total") + denied >= self.sent

        await until(delivered, "the read is matched or denied", self.worker.log)
        matched = await matched_reads(self.bootstrap, self.prefix)
        assert matched[: len(self.matched)] == self.matched
        new = matched[len(self.matched) :]
        assert new in ([], [read_id])
        self.matched = matched
        assert said.exit_code == (0 if new else 1), said.stdout
        return bool(new)

    def explain(self, *arguments: str) -> Result:
        variables: dict[str, str | None] = {
            "HOTLIST_BOOTSTRAP": self.bootstrap,
            "HOTLIST_PREFIX": self.prefix,
        }
        command = ["policies", "explain", "--entry", "E-1", *arguments]
        return CliRunner().invoke(main, command, env=variables)

    def denied(self, reason: str, source: str = "other") -> float:
        return self.worker.metric("hotlist_denied_by_source_total", source=source, reason=reason)


async def test_set_narrowed_and_removed_while_it_runs(real_kafka: str, prefix: str) -> None:
    # Each read is to tell, so none is folded into the one before.
    await produce(real_kafka, Topics(prefix).hotlist, sent(an_entry(suppress_s=0)))
    async with worker_here(real_kafka, prefix) as worker:
        await worker.ready()
        scene = Scene(real_kafka, prefix, worker)
        assert not await scene.read()
        assert scene.denied("no_policy") == 1

        await scene.policy()
        assert await scene.read()
        assert not await scene.read(source="elsewhere")
        assert scene.denied("no_policy") == 2

        await scene.policy(rules=[{"agencies": ["AG0002"], "purposes": "*"}])
        assert not await scene.read()
        await scene.policy(rules=[{"agencies": ["AG0001"], "purposes": ["missing_person"]}])
        assert not await scene.read()
        await scene.policy(rules=[])
        assert not await scene.read()
        assert scene.denied("not_allowed", "city") == 3

        rules = [
            {"agencies": ["AG0002"], "purposes": "*"},
            {"agencies": ["AG0001"], "purposes": ["stolen_vehicle"]},
        ]
        await scene.policy(rules=rules, regions=["US-CA", "NL"])
        assert not await scene.read()
        assert not await scene.read(region="US")
        assert not await scene.read(region="US-NV")
        assert await scene.read(region="US-CA")
        assert scene.denied("policy_region", "city") == 3

        await scene.control(scene.topics.policies, ("city", None))
        assert not await scene.read(region="US-CA")
        assert scene.denied("no_policy") == 3
        await scene.policy()
        assert await scene.read()

        # A record that is no policy takes the one before away: nothing matches by accident.
        await scene.control(scene.topics.policies, {"source": "city", "rules": "all"})
        assert not await scene.read()
        assert scene.denied("no_policy") == 4
        text = (await worker.text("/metrics"))[1]
        assert "elsewhere" not in text
        assert "ABC1234" not in text.upper().replace("-", "")


@pytest.fixture
def scene(real_kafka: str, prefix: str) -> Scene:
    """Topics with an entry and a policy, and no worker."""
    rules = [
        {"agencies": ["AG0002"], "purposes": "*"},
        {"agencies": ["AG0001"], "purposes": ["stolen_vehicle"]},
    ]
    topics = Topics(prefix)

    async def fill() -> None:
        # What stood there before does not count, nor do other entries and sources.
        earlier = an_entry(expires_at="2999-01-01T00:00:00Z")
        entry = an_entry(
            created_at="2026-11-01T00:00:00.000Z",
            expires_at="2026-12-01T00:00:00.000Z",
            region="US-CA",
        )
        await produce(real_kafka, topics.hotlist, sent(earlier, an_entry(entry_id="E-2"), entry))
        policy = a_policy(rules=rules, regions=["US"], updated_at="2026-11-02T00:00:00.000Z")
        await produce(real_kafka, topics.policies, sent(a_policy(), policy))

    asyncio.run(fill())
    return Scene(real_kafka, prefix, None)  # type: ignore[arg-type]


def test_explain_as_a_table(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.clock.SystemClock.now_ms", lambda _: 1_794_000_000_000)
    result = scene.explain("--source", "city", "--region", "US-CA")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows == [
        ["condition", "holds", "found"],
        [
            "the entry is on a hot list",
            "yes",
            "list north-hot, agency AG0001, for stolen_vehicle",
        ],
        ["the entry is admissible", "yes", "case 2026-0017"],
        ["the entry has not expired", "yes", "expires at 2026-12-01T00:00:00.000Z"],
        ["the entry has started", "yes", "from the beginning"],
        [
            "the source has a policy",
            "yes",
            "set by records.chief at 2026-11-02T00:00:00.000Z",
        ],
        [
            "a rule of the policy allows agency and purpose",
            "yes",
            "rule 2 of 2: agencies AG0001, purposes stolen_vehicle",
        ],
        ["the policy covers the read's region", "yes", "only US; the read says US-CA"],
        [
            "the entry's region does not rule the read out",
            "yes",
            "US-CA; the read says US-CA",
        ],
        ["the entry's vehicle does not rule the read out", "yes", "any; the read says nothing"],
        ["the entry's area does not rule the read out", "yes", "anywhere; the read says nothing"],
        ["the entry's hours do not rule the read out", "yes", "at any time"],
        ["may match, by rule 2 of the policy"],
    ]


def test_explain_that_nothing_may_match(scene: Scene) -> None:
    result = scene.explain("--source", "nobody", "--region", "NL")
    assert (result.exit_code, result.stderr) == (1, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["the", "source", "has", "a", "policy", "no", "none:"] in [line[:7] for line in lines]
    assert result.stdout.splitlines()[-1] == "may not match: no_policy"


def test_explain_as_json(scene: Scene) -> None:
    look = ("--vehicle-make=Ford", "--location=52.5,-4", "--captured-at=2026-11-02T00:00:00Z")
    result = scene.explain("--source", "city", "--region", "US-NV", *look, "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    said = orjson.loads(result.stdout)
    told = ("vehicle", "location", "captured_at", "source", "entry_id", "region", "rule")
    assert {name: said[name] for name in told} == {
        "vehicle": {"make": "Ford"},
        "location": {"lat": 52.5, "lon": -4.0},
        "captured_at": "2026-11-02T00:00:00.000Z",
        "source": "city",
        "entry_id": "E-1",
        "region": "US-NV",
        "rule": 2,
    }
    assert (said["may_match"], said["denied_by"]) == (False, "entry_region")
    assert [each["holds"] for each in said["conditions"]] == [True] * 7 + [False] + [True] * 3
    assert "ABC1234" not in result.stdout
