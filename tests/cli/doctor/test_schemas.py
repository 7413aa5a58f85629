"""What `hotlist doctor` reports of a schema registry, and how many schemas it fetches."""

from __future__ import annotations

import pytest

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.cli.doctor.schemas import SampledSchemas, ask_registry
from engine.config import Settings
from engine.kafka.schema_registry import REGISTRY_VARIABLE
from tests.fakes.schema_registry import DETECTION, FakeRegistry, fake_registry, framed


def settings_for(url: str, **others: str) -> Settings:
    return Settings(value_format="schema-registry", schema_registry_url=url, **others)  # type: ignore[arg-type]


async def findings(settings: Settings) -> list[Finding]:
    return [each async for each in ask_registry(settings)]


async def test_a_registry_that_answers_is_in_order_and_one_that_is_gone_is_a_problem() -> None:
    async with fake_registry(FakeRegistry()) as registry:
        settings = settings_for(registry.url)
        [finding] = await findings(settings)
        assert finding.state == "ok"
        assert finding.what.endswith("answers; it takes AVRO, JSON, PROTOBUF")
    [finding] = await findings(settings)
    assert finding.state == "problem"
    assert finding.what.startswith(f"schema registry {registry.url}: does not answer")
    assert finding.todo == "check --schema-registry-url, and that the registry runs"
    assert await findings(Settings()) == []


async def test_a_password_in_clear_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, "geheim")
    monkeypatch.setattr(limits, "SCHEMA_FETCH_S", 0.1)
    settings = settings_for("http://registry.invalid:8081", schema_registry_username="jo")
    warning, _ = await findings(settings)
    assert (warning.state, warning.todo) == ("warning", "use an https URL")


async def test_so_many_schemas_are_fetched_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCTOR_SCHEMAS", 2)
    registry = FakeRegistry()
    registry.add(1, DETECTION)
    async with fake_registry(registry):
        schemas = SampledSchemas(settings_for(registry.url))
        known = [await schemas.know(framed(number, b"")) for number in (1, 1, 2, 3, 1)]
        assert known == [True, True, True, False, True]
        assert await schemas.know(b"{}")
        assert await schemas.know(None)
    assert registry.asked == ["/schemas/ids/1", "/schemas/ids/2"]
