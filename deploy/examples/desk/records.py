"""What the desk and its report take from records, and how they connect to Kafka.

Anything may lie on a topic. `match_of` and `decision_of` raise ValueError for a record that a desk
cannot show or count, so that one such record does not stop it: it is named by topic, partition and
offset, and passed. The error says nothing of what is in the record.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DECISIONS = frozenset({"confirmed", "rejected", "cannot_tell"})
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
#: The texts of a match that the page shows or a decision carries.
_TEXTS = (
    *(("match_id",), ("matched_at",), ("match_type",)),
    *(("entry", name) for name in ("agency", "list_id", "purpose", "expires_at")),
    *(("entry", "authority", name) for name in ("kind", "reference")),
    *(("read", name) for name in ("captured_at", "source", "camera")),
)
_OF_DECISION = ("match_id", "decided_by", "match_type", "list_id", "agency")
_NOT_SO = (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError)


def match_of(value: bytes | None) -> dict[str, Any]:
    """The match in a record."""
    try:
        match: dict[str, Any] = _json(value)
        for path in _TEXTS:
            found: Any = match
            for name in path:
                found = found[name]
            if not isinstance(found, str):
                raise TypeError(f"{'.'.join(path)} is no text")
        _share(match["confidence"])
        # All that a page asks of it, so that it fails here or nowhere.
        has_ended(match)
        priority(match)
        plates(match)
        for check in match["verification"]["checks"]:
            " ".join([named(check), check["text"], check["result"]])
    except _NOT_SO as error:
        raise ValueError(type(error).__name__) from None
    return match


def decision_of(value: bytes | None) -> dict[str, Any]:
    """The decision in a record."""
    try:
        decision: dict[str, Any] = _json(value)
        if not all(isinstance(decision[name], str) for name in _OF_DECISION):
            raise TypeError("a text is missing")
        if decision["decision"] not in DECISIONS:
            raise ValueError("no such decision")
        _share(decision["confidence"])
    except _NOT_SO as error:
        raise ValueError(type(error).__name__) from None
    return decision


def _json(value: bytes | None) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON, and a browser takes none")

    return json.loads(value or b"", parse_constant=refuse)


def _share(value: Any) -> None:
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError("is no share")


def passed(record: Any, what: str, error: ValueError) -> None:
    """Say which record is passed, and nothing of what it holds."""
    where = f"{record.topic}/{record.partition}/{record.offset}"
    print(f"{where} is no {what}, and is passed: {error}", file=sys.stderr, flush=True)


def has_ended(match: dict[str, Any]) -> bool:
    """Whether the match's entry has expired."""
    return datetime.fromisoformat(match["entry"]["expires_at"]) <= datetime.now(UTC)


def named(check: dict[str, Any]) -> str:
    """A check's name among those of its match: `dropped` may stand there for several fields."""
    return " ".join([check["check"], *([check["field"]] if "field" in check else [])])


def priority(match: dict[str, Any]) -> int:
    """The entry's priority, 1 to 5; 3 if it has none."""
    return int(match["entry"].get("priority") or 3)


def plates(match: dict[str, Any]) -> dict[str, list[list[Any]]]:
    """Both plates, character by character, each with whether it differs from the other plate's.

    The check `plate` has the positions in the listed plate. The read's characters stand beside them
    if they can be aligned, and are not marked otherwise.
    """
    check = next(check for check in match["verification"]["checks"] if check["check"] == "plate")
    listed, read = check["listed"], check["read"]
    positions = set(check.get("positions", ()))
    misread = check.get("misread") or {}
    at = int(misread.get("position", -1))
    known = [n for n, character in enumerate(read) if character.isalnum()]
    # The place in the listed plate that each of the read's characters stands for.
    places: list[int | None] = list(range(len(known)))
    if misread.get("kind") == "missing":
        places = [place if place < at else place + 1 for place in range(len(known))]
    elif misread.get("kind") == "added":
        places = [n if n < at else None if n == at else n - 1 for n in range(len(known))]
    added = misread.get("kind") == "added"
    aligned = len(known) == len(listed) + added - (misread.get("kind") == "missing")
    marks = dict(zip(known, places, strict=True)) if aligned else {}
    others = positions - ({at} if added else set())
    return {
        "read": [
            [character, n in marks and (marks[n] is None or marks[n] in others)]
            for n, character in enumerate(read)
        ],
        "listed": [[character, n in others] for n, character in enumerate(listed)],
    }


def connection(bootstrap: str) -> dict[str, Any]:
    """The arguments of aiokafka's clients: the variables by which `hotlist` logs in too.

    HOTLIST_SECURITY_PROTOCOL; with SASL HOTLIST_SASL_MECHANISM (PLAIN, SCRAM-SHA-256 or
    SCRAM-SHA-512), HOTLIST_SASL_USERNAME and HOTLIST_SASL_PASSWORD or HOTLIST_SASL_PASSWORD_FILE;
    with TLS HOTLIST_SSL_CAFILE, and HOTLIST_SSL_CERTFILE and HOTLIST_SSL_KEYFILE for a certificate.
    Raises ValueError for what cannot be a login, and OSError for a file that cannot be used.
    """
    asked = os.environ.get
    protocol = asked("HOTLIST_SECURITY_PROTOCOL", "PLAINTEXT")
    if protocol not in PROTOCOLS:
        raise ValueError(f"HOTLIST_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}")
    found: dict[str, Any] = {"bootstrap_servers": bootstrap, "security_protocol": protocol}
    if protocol.startswith("SASL_"):
        password = asked("HOTLIST_SASL_PASSWORD")
        if password is None and (file := asked("HOTLIST_SASL_PASSWORD_FILE")):
            password = Path(file).read_text("utf-8").strip()
        if not password or not asked("HOTLIST_SASL_USERNAME"):
            raise ValueError(f"{protocol} needs HOTLIST_SASL_USERNAME and HOTLIST_SASL_PASSWORD")
        found["sasl_mechanism"] = asked("HOTLIST_SASL_MECHANISM", "PLAIN")
        found["sasl_plain_username"] = asked("HOTLIST_SASL_USERNAME")
        found["sasl_plain_password"] = password
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=asked("HOTLIST_SSL_CAFILE"))
        if certfile := asked("HOTLIST_SSL_CERTFILE"):
            context.load_cert_chain(certfile, asked("HOTLIST_SSL_KEYFILE"))
        found["ssl_context"] = context
    return found
