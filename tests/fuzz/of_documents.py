"""Targets on JSON: every document of the contract, and the control records that hold some.

documents  a kind, and JSON: the decoder beside the schema, and what an error tells
control    records of the control topics, applied, beside the naive model
states     what the engine reads back of itself: audit records, checkpoints, suppression
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from typing import Any, Final

import msgspec
import xxhash

from engine import limits
from engine.audit.chain import Chain, Opener
from engine.audit.checkpoints import CheckpointError, open_checkpoint, public_key
from engine.documents import model
from engine.documents.codec import (
    decode_detection,
    decode_entry,
    decode_suppression,
    encode,
)
from engine.documents.droppable import decode_read
from engine.documents.model import AuditRecord, Detection, Entry
from engine.errors import DocumentError
from engine.list_files.digests import Names
from engine.list_files.list_state import ListState
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.suppression import Suppression
from tests.documents.test_model import _VALIDATORS as VALIDATORS
from tests.documents.test_model import DECODERS
from tests.fakes.documents import NOW_MS, sighting
from tests.fuzz.fuzzer import Target, agree
from tests.fuzz.json_texts import is_far_out, json_value
from tests.fuzz.mutations import any_of, behind_first_line, change_bytes, change_json
from tests.models.contract_reads import REQUIRED, kept
from tests.models.naive import plain_plate, time_ms
from tests.models.real_matcher import MISREADS, PURPOSES

_KINDS: Final = tuple(DECODERS)

# ---- documents

_NAMES: Final = frozenset(
    name
    for kind in vars(model).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for name in kind.__struct_fields__
)
_FIELD: Final = re.compile(r"\$(?:\.[a-z_]+|\[\d+\])*")
#: All that an error may say, with numbers and listed values of ours in it.
_RULE: Final = re.compile(
    r"is required|must (?:be|have|not) [a-zA-Z0-9 ,.:_\-+*\"/]+"
    r"|does not (?:fit the schema|have the form that the schema asks for)"
    r"|holds a number out of range|"
)


def _run_documents(data: bytes) -> Iterable[Hashable]:
    first, _, text = data.partition(b"\n")
    kind = first.decode("ascii", "replace")
    if kind not in DECODERS:
        kind = _KINDS[len(first) % len(_KINDS)]
    decode = DECODERS[kind]
    is_json, value = json_value(text)
    accepts = is_json and bool(VALIDATORS[kind].is_valid(value))
    if kind == "detection":
        _check_tolerance(text, is_json, value, accepts)
    try:
        decoded = decode(text)
    except DocumentError as error:
        check_error(error)
        if not is_far_out(value):
            agree(False, accepts, f"{kind} accepted, told {error}")
        return [(kind, error.reason, error.field, error.rule)]
    agree(True, accepts or (not is_json and _is_too_deep(text)), f"{kind} accepted")
    written = encode(decoded)
    again = decode(written)
    assert again == decoded, "not the same when it is written and read again"
    assert encode(again) == written
    is_json, clean = json_value(written)
    assert is_json
    assert VALIDATORS[kind].is_valid(clean), "writes what it would not read"
    return [(kind, "good", tuple(sorted(clean)))]


def _check_tolerance(text: bytes, is_json: bool, value: Any, accepts: bool) -> None:
    """A worker takes a read whose required fields are good, and names what it drops of the rest."""
    required = (
        {name: value[name] for name in REQUIRED if name in value} if isinstance(value, dict) else 0
    )
    wanted = is_json and bool(VALIDATORS["detection"].is_valid(required))
    try:
        read, dropped = decode_read(text)
    except DocumentError as error:
        check_error(error)
        if not is_far_out(value):
            agree(False, wanted, f"a read accepted, told {error}")
        return
    agree(True, wanted or (not is_json and _is_too_deep(text)), "a read accepted")
    assert decode_detection(encode(read)) == read
    for each in dropped:
        check_error(DocumentError("schema", field=each.path, rule=each.rule))
        assert each.path.startswith(f"$.{each.field}")
    if is_json and not is_far_out(value):
        rest, broken = kept(value)
        assert {each.field for each in dropped} == broken
        assert json.loads(encode(read)) == rest
        assert (not dropped) == accepts


def _is_too_deep(text: bytes) -> bool:
    """Whether Python's parser gave up where ours need not."""
    return text.count(b"[") + text.count(b"{") > 500


def check_error(error: DocumentError) -> None:
    """An error is one line of our own words: no value, and no name that a sender made up."""
    text = str(error)
    assert text.isprintable(), text
    assert _FIELD.fullmatch(error.field), error.field
    assert set(re.findall(r"[a-z_]+", error.field)) <= _NAMES, error.field
    assert _RULE.fullmatch(error.rule), error.rule
    assert error.reason in ("invalid_json", "schema")
    assert error.__context__ is None, "the chain would carry the document along"
    assert len(error.field) <= 256, "as long as a reject may tell"
    assert len(error.rule) <= 256


# ---- control records


def _run_control(data: bytes) -> Iterable[Hashable]:
    """A line a record: `entry` or `policy`, a key, a value; nothing for a value is a tombstone."""
    lists = Lists(PURPOSES, MISREADS)
    names = Names()
    state = ListState(names)
    chain = Chain("fuzz")
    far_out = False
    held: dict[str, Any] = {}
    policies: dict[str, Any] = {}
    outcomes: list[Hashable] = []
    for offset, line in enumerate(data.split(b"\n")[:20]):
        kind, _, rest = line.partition(b" ")
        key, _, value = rest.partition(b" ")
        is_policy = kind == b"policy"
        record = ControlRecord(
            ControlKind.POLICY if is_policy else ControlKind.ENTRY,
            0,
            offset,
            NOW_MS,
            key,
            value or None,
        )
        applied = lists.apply([record], NOW_MS, Phase.FOLLOWING)
        for change in applied.changes:
            sealed = chain.seal(change.event, change.fields, change.at_ms)
            opened, found_hash = Opener().open(sealed)
            assert opened.hash == found_hash, "what changed can be audited, whatever it holds"
        outcomes += applied.refused
        wanted, document = (policies, _policy) if is_policy else (held, _entry)
        named = key.decode("utf-8", "replace")
        wanted.pop(named, None)
        found = document(key, value) if value else None
        if found is not None:
            wanted[named] = found
        elif not is_policy and value:
            assert applied.refused or applied.changed, "a refusal is counted"
        state.apply([(key, value or None)])
        far_out = far_out or is_far_out(json_value(value)[1])
    state.settle()
    if far_out:
        return ["numbers of which one may say this or that"]
    agree(len(lists.index), len(held), "entries")
    for entry_id, entry in held.items():
        kept = lists.index.find(entry_id)
        assert kept is not None, entry_id
        agree(json_value(encode(kept[0]))[1], _without_nulls(entry), "the entry that is kept")
    found_policies = {policy.source for policy, _ in lists.eligibility.policies}
    agree(found_policies, set(policies), "policies")
    return outcomes


def _entry(key: bytes, value: bytes) -> Any:
    """The entry of a record by the schema and the rules, None where it is refused or over."""
    is_json, entry = json_value(value)
    if not is_json or not VALIDATORS["entry"].is_valid(entry):
        return None
    entry = {name: field for name, field in entry.items() if field is not None}
    purpose = PURPOSES.get(entry["purpose"])
    plate = entry["plate"]
    known = len(plate.replace("?", ""))
    distance = entry.get("distance", 0)
    created_ms, expires_ms = time_ms(entry["created_at"]), time_ms(entry["expires_at"])
    if (
        entry["entry_id"].encode() != key
        or purpose is None
        or plain_plate(plate.replace("?", "0")) != plate.replace("?", "0")
        or (distance and "?" in plate)
        or known < purpose.known_characters_floor + distance
        or not created_ms < expires_ms <= created_ms + purpose.longest_term_days * 86_400_000
        or expires_ms <= NOW_MS
        or _has_unknown_zone(entry)
    ):
        return None
    return entry


def _has_unknown_zone(entry: Any) -> bool:
    zone = entry.get("hours", {}).get("time_zone", "UTC")
    return zone not in ("UTC", "America/Los_Angeles", "Europe/Amsterdam")


def _policy(key: bytes, value: bytes) -> Any:
    is_json, policy = json_value(value)
    if not is_json or not VALIDATORS["policy"].is_valid(policy):
        return None
    return policy if policy["source"].encode() == key else None


def _without_nulls(value: Any) -> Any:
    """What the engine keeps of a document: known fields that say something."""
    return json_value(encode(decode_entry(json.dumps(value).encode())))[1]


# ---- what the engine reads back of itself

_KEY: Final = public_key(
    b"-----BEGIN PUBLIC KEY-----\n"
    b"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    b"-----END PUBLIC KEY-----\n",
    "key",
)


def _run_states(data: bytes) -> Iterable[Hashable]:
    first, _, rest = data.partition(b"\n")
    if first == b"checkpoint":
        return [_run_checkpoint(rest)]
    if first == b"suppression":
        return _run_suppression(rest)
    return [_run_audit(rest)]


def _run_checkpoint(data: bytes) -> Hashable:
    try:
        open_checkpoint(data, "file", _KEY)
    except CheckpointError as error:
        agree(str(error).isprintable(), True, "printable")
        return error.what
    raise AssertionError("signed by nobody, and accepted")


def _run_audit(data: bytes) -> Hashable:
    try:
        record, found = Opener().open(data)
    except DocumentError as error:
        agree(str(error).isprintable(), True, "printable")
        return error.reason, error.field, error.rule
    is_json, value = json_value(data)
    assert is_json
    # Fields of a newer version count in the hash, and what is wrong with a hash shows itself when
    # it is compared.
    known = {name: value[name] for name in AuditRecord.__struct_fields__}
    hashes = {"hash": "0" * 64, "previous_hash": "0" * 64}
    assert VALIDATORS["audit"].is_valid({**known, **hashes})
    agree({name: getattr(record, name) for name in known}, known, "record")
    # Its canonical form has the same hash, so that no spelling hides a change.
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    again, same = Opener().open(canonical.encode())
    assert same == found
    assert again == record
    return "whole" if found == record.hash else "changed", len(value) > len(known)


def _run_suppression(data: bytes) -> Iterable[Hashable]:
    states = []
    for line in data.split(b"\n")[:20]:
        key, _, value = line.partition(b" ")
        try:
            states.append((xxhash.xxh3_128_digest(key), decode_suppression(value)))
        except DocumentError as error:
            check_error(error)
    suppression = Suppression()
    suppression.turn_to(NOW_MS)
    suppression.restore(0, dict(states).items(), 1 << 40)
    entry, read = _AN_ENTRY, _A_READ
    before = len(suppression)
    outcomes = [
        suppression.admit(
            entry, sighting(camera=read.camera, captured_ms=captured_ms, offset=(1 << 40) + at)
        )
        for at, captured_ms in enumerate((NOW_MS, NOW_MS, NOW_MS + 3_600_000))
    ]
    assert outcomes[1] != outcomes[0] or outcomes[0] < 0, "a match suppresses the next read"
    assert len(suppression) <= before + 1 <= limits.SUPPRESSION_KEYS + 1
    for record in suppression.take_changes():
        if record.value is not None:
            decode_suppression(record.value)
    return [len(states), *(outcome < 0 for outcome in outcomes)]


_AN_ENTRY: Final[Entry] = decode_entry(
    b'{"entry_id":"E1","list_id":"L1","plate":"ABC123","agency":"AG1","purpose":"stolen_vehicle",'
    b'"authority":{"kind":"case","reference":"1"},"requested_by":"o",'
    b'"created_at":"2026-09-20T00:00:00.000Z","expires_at":"2026-10-20T00:00:00.000Z"}'
)
_A_READ: Final[Detection] = decode_detection(
    b'{"read_id":"R1","plate":"ABC123","captured_at":"2026-09-21T00:00:00Z","source":"S1",'
    b'"camera":"C1"}'
)


def _by_line(chance: Any, data: bytes, pool: Any) -> bytes:
    """Changes the JSON at the end of one line, or which lines there are."""
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    if chance.random() < 0.2:
        others = chance.choice(pool).split(b"\n")
        lines.insert(place, chance.choice(others))
    else:
        begin = lines[place].find(b"{")
        before, text = lines[place][:begin], lines[place][begin:]
        values = [line[line.find(b"{") :] for line in chance.choice(pool).split(b"\n")]
        changed = change_json(chance, text, values or [b""]).replace(b"\n", b" ")
        if begin > 0:
            lines[place] = before + changed
    return b"\n".join(lines)


TARGETS: Final = (
    Target(
        "documents",
        _run_documents,
        behind_first_line(any_of(change_json, change_json, change_bytes), _KINDS),
    ),
    Target("control", _run_control, any_of(_by_line, _by_line, change_bytes)),
    Target(
        "states",
        _run_states,
        any_of(
            _by_line,
            behind_first_line(
                any_of(change_json, change_bytes), ("checkpoint", "suppression", "audit")
            ),
        ),
    ),
)
