"""The corpus of messages in the shapes that products are known to send: tests/data/field/messages.

Each vendor of `hotlist ingest` has a directory, in which `cases.toml` says of each message file:

    file      the message's file, as it would be received
    product   what sends it, with its version if the source names one
    source    the public address that shows the shape; the words and plates are our own
    site      what the operator says: `camera`, `time_zone`, `country`
    mapping   for `generic`: the mapping's file
    reads     what comes of it, every field of a detection but read_id and source; `[]` for none
    error     instead of reads: the field and the rule of the one error
    problems  the parts that gave no read, each by its field and rule
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from engine.cli.mapping import adapter_of
from engine.documents.codec import encode
from engine.ingest.adapters import Adapted, Adapter, AdapterError, Site

MESSAGES: Final = Path(__file__).parents[2] / "data" / "field" / "messages"
CASES: Final = "cases.toml"
SOURCE: Final = "city-north"
#: By its name in a case, the field of Site and what makes its value.
_SITE: Final[dict[str, tuple[str, Any]]] = {
    "camera": ("camera", str),
    "country": ("country", str),
    "time_zone": ("zone", ZoneInfo),
}


class Broken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of a message and the rule that it breaks."""

    field: str
    rule: str


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message, and what comes of it; see the module."""

    file: str
    product: str
    source: str
    site: dict[str, str] = {}
    mapping: str | None = None
    reads: list[dict[str, Any]] | None = None
    error: Broken | None = None
    problems: list[Broken] = []


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vendor's cases."""

    cases: list[Case]


def tables() -> dict[str, Table]:
    """Return the cases of each vendor."""
    return {
        path.parent.name: msgspec.convert(tomllib.loads(path.read_text("utf-8")), Table)
        for path in sorted(MESSAGES.glob(f"*/{CASES}"))
    }


def site_of(case: Case) -> Site:
    """Return the site of a case. ValueError if it has what a Site does not."""
    fields = {}
    for name, value in case.site.items():
        field, make = _SITE.get(name, ("", None))
        if field not in Site._fields:
            raise ValueError(f"{case.file}: site.{name} is no field of Site")
        fields[field] = make(value)
    return Site(SOURCE, **fields)


def adapter_of_case(vendor: str, case: Case) -> Adapter:
    """Return the adapter that takes a case's message."""
    mapping = None if case.mapping is None else MESSAGES / vendor / case.mapping
    return adapter_of(vendor, mapping)


def expected(case: Case) -> dict[str, Any]:
    """Return what a case says, in the form of `found`. ValueError if it says two things, or none.

    An error excludes reads and problems.
    """
    if (case.reads is None) == (case.error is None) or (case.error and case.problems):
        raise ValueError(f"{case.file}: has reads or an error, one of them")
    if case.error is not None:
        return {"error": msgspec.to_builtins(case.error)}
    return {"reads": case.reads, "problems": msgspec.to_builtins(case.problems)}


def found(outcome: Adapted | AdapterError) -> dict[str, Any]:
    """Return what came of a message."""
    if isinstance(outcome, AdapterError):
        return {"error": {"field": outcome.field, "rule": outcome.rule}}
    reads = [json.loads(encode(read)) for read in outcome.reads]
    for read in reads:
        del read["read_id"], read["source"]
    problems = [{"field": each.field, "rule": each.rule} for each in outcome.problems]
    return {"reads": reads, "problems": problems}


def difference(wanted: Any, got: Any) -> str:
    """Return the lines in which two results differ; empty if they are equal."""
    if wanted == got:
        return ""
    said, given = _lines(wanted), _lines(got)
    return "\n".join(difflib.unified_diff(said, given, "the case says", "the adapter gives"))


def _lines(result: Any) -> list[str]:
    return json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
