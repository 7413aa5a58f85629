"""The corpus of messages, changed: whatever a message has anywhere, there are good reads or a clear
error, and a message that is given to another vendor's command is named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, tostring

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from engine.ingest.adapters import ADAPTERS, Adapter, AdapterError, Site
from tests.ingest.adapters.field_cases import MESSAGES, Case, adapter_of_case, site_of, tables
from tests.ingest.adapters.hostile import reads_or_errors

_PAIRS: Final = [(vendor, case) for vendor, table in tables().items() for case in table.cases]
_ALL: Final = [pytest.param(vendor, case, id=f"{vendor}/{case.file}") for vendor, case in _PAIRS]
_SECRET: Final = "SECRET7 \n"
_HOSTILE: Final[list[Any]] = [
    None,
    True,
    -1,
    2**70,
    math.pi,
    "",
    "x" * 5000,
    "\x1b[2J",
    "1e999",
    "\u0130\u00df",
    _SECRET,
    [],
    [[None]],
    {},
    {"plate": {}},
]
#: What XML can hold of these.
_HOSTILE_TEXTS: Final = ["", "-1", "x" * 5000, "NaN", "1e999", "\u0130\u00df", _SECRET]


def of(suffix: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("vendor", "case"), [each for each in _ALL if str(each.id).endswith(suffix)]
    )


def path_of(vendor: str, case: Case) -> Path:
    return MESSAGES / vendor / case.file


def held(adapter: Adapter, sent: bytes) -> None:
    reads_or_errors(adapter, sent, _SECRET.strip())


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths to all values within a value."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@of(".json")
def test_every_value_of_a_json_message(vendor: str, case: Case) -> None:
    adapter, whole = adapter_of_case(vendor, case), path_of(vendor, case).read_bytes()
    for place in list(places(json.loads(whole)))[1:]:
        for other in _HOSTILE:
            document = json.loads(whole)
            at(document, place[:-1])[place[-1]] = other
            held(adapter, json.dumps(document).encode())
        document = json.loads(whole)
        del at(document, place[:-1])[place[-1]]
        held(adapter, json.dumps(document).encode())


@of(".xml")
def test_every_element_of_an_xml_message(vendor: str, case: Case) -> None:
    adapter, whole = adapter_of_case(vendor, case), path_of(vendor, case).read_bytes()
    if b"<!DOCTYPE" in whole:
        held(adapter, whole)
        return
    count = sum(1 for _ in fromstring(whole).iter())
    for number in range(count):
        for other in _HOSTILE_TEXTS:
            root = fromstring(whole)
            changed: Element = list(root.iter())[number]
            changed.text = other
            held(adapter, tostring(root))
        held(adapter, without(whole, number))
        held(adapter, twice(whole, number))


def without(whole: bytes, number: int) -> bytes:
    """The document without its element of this number, but for the root."""
    root = fromstring(whole)
    gone = list(root.iter())[number]
    for parent in root.iter():
        if gone in list(parent):
            parent.remove(gone)
    return bytes(tostring(root))


def twice(whole: bytes, number: int) -> bytes:
    """The document with its element of this number twice."""
    root = fromstring(whole)
    again = list(root.iter())[number]
    for parent in list(root.iter()):
        if again in list(parent):
            parent.append(again)
    return bytes(tostring(root))


@of(".txt")
def test_a_text_that_is_cut_anywhere(vendor: str, case: Case) -> None:
    adapter, whole = adapter_of_case(vendor, case), path_of(vendor, case).read_bytes()
    for end in range(0, len(whole), 23):
        held(adapter, whole[:end])
        held(adapter, whole[end:])
        held(adapter, whole[:end] + b"SECRET7" + whole[end + 3 :])


@given(data=st.data())
def test_bytes_changed_anywhere(data: st.DataObject) -> None:
    vendor, case = data.draw(st.sampled_from(_PAIRS))
    changed = bytearray(path_of(vendor, case).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    held(adapter_of_case(vendor, case), bytes(changed))


@pytest.mark.parametrize(("vendor", "case"), _ALL)
def test_a_message_given_to_another_command_is_named(vendor: str, case: Case) -> None:
    if not case.reads or vendor not in ADAPTERS:
        return
    sent = path_of(vendor, case).read_bytes()
    for other in ADAPTERS.keys() - {vendor}:
        with pytest.raises(AdapterError) as raised:
            ADAPTERS[other](sent, site_of(case))
        if case.file.endswith((".json", ".xml")):
            assert f"hotlist ingest {vendor} takes" in raised.value.rule, other


def test_an_xml_message_that_nests_too_deep() -> None:
    sent = b"<a>" * 100 + b"</a>" * 100
    with pytest.raises(AdapterError, match="must nest at most 64 elements"):
        ADAPTERS["hikvision"](sent, Site("city-north"))
