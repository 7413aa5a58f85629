"""A change that is half done fails here: what is said in one place must be known in the others.

CONTRIBUTING.md names these tests for each kind of change.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import click
import msgspec
import pytest

from engine.cli import main as hotlist
from engine.documents.codec import decode_entry
from engine.documents.model import Entry
from engine.index.entry_store import EntryStore
from engine.ingest.adapters import ADAPTERS
from engine.list_files.entry_fields import FIELDS
from engine.list_files.profile import load
from tests.documents.test_model import FULL
from tests.ingest.adapters.field_cases import tables
from tests.repository.pages import ROOT, Page
from tests.repository.source import Source

#: The flag of `entries add` for a flat name, where it is called otherwise.
_CALLED: Final = {"authority_reference": "authority_ref"}


# ---- an optional field of an entry


def test_each_field_of_an_entry_has_a_flat_name() -> None:
    assert {field.field for field in FIELDS.values()} == set(Entry.__struct_fields__)


def test_each_field_of_an_entry_is_kept_by_the_index() -> None:
    entry = decode_entry(msgspec.json.encode(FULL["entry"]))
    store = EntryStore()
    store.put(store.add_slots(1)[0], entry)
    assert store.get(0) == entry


def test_each_field_of_an_entry_is_a_flag() -> None:
    entries = hotlist.commands["entries"]
    assert isinstance(entries, click.Group)
    flags = {parameter.name for parameter in entries.commands["add"].params}
    assert {_CALLED.get(name, name) for name in FIELDS} <= flags


def test_each_field_of_an_entry_is_a_column_of_our_own_files() -> None:
    assert set(load("hotlist", None).columns) >= set(FIELDS)


# ---- a metric


def _metrics() -> list[str]:
    """The attributes by which the metrics are known."""
    tree = Source.read().modules["engine.observability.metric_families"].tree
    made = {"_counter", "_gauge", "_histogram"}
    return sorted(
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(node.value.func, ast.Attribute) and node.value.func.attr in made
        if isinstance(target, ast.Attribute)
    )


def _used() -> set[str]:
    """Every attribute that engine/ reads of something."""
    return {
        node.attr
        for module in Source.read().modules.values()
        for node in module.nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_each_metric_is_counted_somewhere() -> None:
    assert len(_metrics()) > 30
    assert set(_metrics()) <= _used()


# ---- a command


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before, name


def test_the_table_of_commands_has_each() -> None:
    page = (ROOT / "deploy/guides/commands.md").read_text("utf-8")
    table = "\n".join(re.findall(r"^\| .*$", page, re.MULTILINE))
    for before, name in _commands(hotlist):
        assert re.search(rf"`(?:hotlist {before})?{name}\b", table), f"hotlist {before}{name}"


# ---- a vendor's adapter


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_each_vendor_has_a_message_and_a_test(vendor: str) -> None:
    table = tables().get(vendor)
    cases = table.cases if table is not None else []
    made_up = list((ROOT / "tests" / "data" / "vendors").glob(f"{vendor}[-.]*"))
    assert made_up or any(case.reads for case in cases), f"no message of {vendor} with a read"
    guide = Page(ROOT / "deploy/guides/producers.md").text
    assert f"`{vendor}`" in guide or f"ingest {vendor}" in guide, f"no {vendor} in producers.md"


# ---- a denial reason


def test_each_denial_reason_is_given_and_explained() -> None:
    """A constant of `eligibility` for each, which the decision and its explanation use."""
    source = Source.read()
    [reasons] = [
        [ast.unparse(each) for each in node.value.elts]
        for node in source.modules["engine.index.eligibility"].tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and ast.unparse(node.targets[0]) == "DENIAL_REASONS"
    ]
    explained = source.modules["engine.matching.explain"].text
    decided = "".join(
        source.modules[name].text
        for name in ("engine.index.eligibility", "engine.matching.conditions")
    )
    assert len(reasons) > 5
    for reason in reasons:
        assert re.search(rf"return {reason}\b|else {reason}\b|{reason} if\b", decided), reason
        assert re.search(rf"\b{reason}\b", explained), reason
