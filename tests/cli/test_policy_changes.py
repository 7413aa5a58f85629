"""`hotlist policies set` shows what it is about to change, and asks a person first."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from engine.cli import main, policies
from engine.cli.policy_changes import PolicyChange, describe_names
from engine.documents.codec import decode_policy
from engine.kafka import readable, reader, writer
from engine.kafka.reader import LastRecord
from tests.fakes.documents import policy_json

ANY = {"agencies": "*", "purposes": "*"}
PD01 = {"agencies": ["PD01", "PD02"], "purposes": ["permit"]}


class Topic:
    """The topic of the policies, in memory."""

    def __init__(self) -> None:
        self.records: dict[bytes, LastRecord] = {}
        self.sent: list[bytes] = []
        self.next_offsets: dict[Any, int] = {}
        self.on_read: Callable[[], None] = lambda: None

    def holds(self, **values: Any) -> None:
        document = policy_json(**values)
        self.records[document["source"].encode()] = LastRecord(orjson.dumps(document), 0)

    async def read_to_end(self, *_: Any, only: Any) -> dict[bytes, LastRecord]:
        found = {key: value for key, value in self.records.items() if key in only}
        self.on_read()
        return found

    @asynccontextmanager
    async def outbox(self, *_: Any) -> AsyncIterator[Topic]:
        yield self

    async def send(self, key: bytes, *_: Any) -> None:
        self.sent.append(key)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Topic:
    made = Topic()

    async def wait_readable(*_: Any) -> None:
        return None

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reader, "read_to_end", made.read_to_end)
    monkeypatch.setattr(writer, "outbox", made.outbox)
    monkeypatch.setattr(readable, "wait_readable", wait_readable)
    return made


def set_policies(*documents: Any, flags: tuple[str, ...] = (), answer: str = "") -> Result:
    Path("p.json").write_text(json.dumps(list(documents)))
    arguments = ["policies", "set", "p.json", "--operator", "jo", *flags]
    return CliRunner().invoke(main, arguments, input=answer)


def test_a_table_is_shown_before_policies_are_set(topic: Topic) -> None:
    topic.holds(source="S1", rules=[{"agencies": ["PD02", "PD01"], "purposes": ["permit"]}, ANY])
    topic.holds(source="S2", rules=[PD01], regions=["NL"])
    topic.holds(source="S3", rules=[PD01])
    result = set_policies(
        policy_json(source="S1", rules=[PD01, {"agencies": ["PD03"], "purposes": ["access"]}]),
        policy_json(source="S2", rules=[PD01]),
        policy_json(source="S3", rules=[]),
        policy_json(source="S4", rules=[PD01], regions=["NL", "BE"]),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "source  agencies   purposes  regions  change",
        "S1      PD01 PD02  permit    all      same",
        "S1      PD03       access    all      new",
        "S1      *          *         all      removed",
        "S2      PD01 PD02  permit    all      regions were NL",
        "S3      none       none      all      new",
        "S3      PD01 PD02  permit    all      removed",
        "S4      PD01 PD02  permit    NL BE    new",
        "set 4 policies",
    ]
    assert topic.sent == [b"S1", b"S2", b"S3", b"S4"]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (ANY, "S1: every agency may match on its reads for every purpose"),
        (
            {"agencies": "*", "purposes": ["permit", "access"]},
            "S1: every agency may match on its reads for permit, access",
        ),
        (
            {"agencies": ["PD01", "PD02"], "purposes": "*"},
            "S1: PD01, PD02 may match on its reads for every purpose",
        ),
        (
            {"agencies": ["*"], "purposes": "*"},
            "S1: '*' may match on its reads for every purpose",
        ),
    ],
)
def test_a_rule_that_opens_everything_is_said_in_words(
    topic: Topic, rule: Any, sentence: str
) -> None:
    result = set_policies(policy_json(rules=[PD01, rule]))
    assert result.stdout.splitlines()[-2:] == [sentence, "set 1 policy"]
    result = set_policies(policy_json(rules=[rule], regions=["NL"]), flags=("--json",))
    assert orjson.loads(result.stdout)["opens"] == [f"{sentence}, in NL"]


def test_a_rule_that_allows_nothing_opens_nothing(topic: Topic) -> None:
    result = set_policies(policy_json(rules=[{"agencies": [], "purposes": "*"}, PD01]))
    assert "may match" not in result.stdout
    assert result.exit_code == 0


def test_an_agency_named_by_an_asterisk_is_quoted(topic: Topic) -> None:
    assert describe_names("*") == "*"
    assert describe_names(("PD01", "*")) == "PD01 '*'"
    rules = [{"agencies": ["*"], "purposes": ["permit"]}, {**PD01, "agencies": "*"}]
    lines = set_policies(policy_json(rules=rules)).stdout.splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["'*'", "*"]
    topic.holds(rules=rules)
    lines = _shown(topic).splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["'*'", "*"]


def _shown(topic: Topic) -> str:
    """What `policies show` prints for all of the topic."""
    topic.read_to_end = _all_of(topic)  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "read_to_end", topic.read_to_end)
        return CliRunner().invoke(main, ["policies", "show"]).stdout


def _all_of(topic: Topic) -> Any:
    async def read_to_end(*_: Any) -> dict[bytes, LastRecord]:
        return topic.records

    return read_to_end


def test_as_json(topic: Topic) -> None:
    topic.holds(source="S1", rules=[PD01])
    first = policy_json(source="S1", rules=[ANY])
    second = policy_json(source="S2", rules=[])
    result = set_policies(first, second, flags=("--json",))
    assert [orjson.loads(line) for line in result.stdout.splitlines()] == [
        {
            "source": "S1",
            "change": "changed",
            "opens": ["S1: every agency may match on its reads for every purpose"],
            "policy": first,
            "standing": policy_json(source="S1", rules=[PD01]),
        },
        {"source": "S2", "change": "new", "opens": [], "policy": second, "standing": None},
    ]
    assert result.stderr == ""
    assert topic.sent == [b"S1", b"S2"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"rules": [{"agencies": ["PD02", "PD01"], "purposes": ["permit"]}]}, "same"),
        ({"rules": [PD01], "regions": ["NL"]}, "changed"),
        ({"rules": [PD01, ANY]}, "changed"),
        ({"rules": []}, "changed"),
    ],
)
def test_what_happens_to_a_source(values: Any, kind: str) -> None:
    standing, policy = (
        decode_policy(orjson.dumps(policy_json(**each))) for each in ({"rules": [PD01]}, values)
    )
    assert PolicyChange(policy, standing).kind == kind


def test_a_record_that_is_no_policy_stands_for_nothing(topic: Topic) -> None:
    topic.records[b"S1"] = LastRecord(b"{", 0)
    result = set_policies(policy_json(source="S1", rules=[PD01]))
    assert result.stderr == (
        "lpr.policies.v1: the record of 'S1' is no valid policy; the worker ignores it\n"
    )
    assert result.stdout.splitlines()[1].endswith("new")
    assert topic.sent == [b"S1"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "can_ask", lambda: True)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_on_a_terminal_nothing_is_set_without_a_yes(topic: Topic, answer: str) -> None:
    result = set_policies(policy_json(source="S1", rules=[PD01]), answer=answer)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith("source")
    assert "Set 1 policy? [y/N]" in result.stderr
    assert result.stderr.endswith("hotlist: nothing was set, because the answer was not yes\n")
    assert topic.sent == []


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_a_yes_sets_it(topic: Topic) -> None:
    result = set_policies(policy_json(source="S1", rules=[PD01]), answer="y\n")
    assert (result.exit_code, topic.sent) == (0, [b"S1"])


@pytest.mark.usefixtures("terminal")
def test_yes_asks_nothing(topic: Topic) -> None:
    result = set_policies(policy_json(source="S1", rules=[PD01]), flags=("--yes",))
    assert (result.exit_code, result.stderr, topic.sent) == (0, "", [b"S1"])


@pytest.mark.usefixtures("terminal")
def test_what_was_shown_must_still_stand_after_the_answer(topic: Topic) -> None:
    topic.on_read = lambda: topic.holds(source="S1", rules=[ANY])
    result = set_policies(policy_json(source="S1", rules=[PD01]), answer="y\n")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "hotlist: lpr.policies.v1: another command changed these policies meanwhile; "
        "nothing was set; run the command again\n"
    )
    assert topic.sent == []
