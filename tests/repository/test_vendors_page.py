"""The page of the vendors says what is in the corpus, and has a paragraph for each vendor."""

from __future__ import annotations

import re

import msgspec
import pytest

from engine.ingest.adapters import ADAPTERS, Mapping
from tests.ingest.adapters.field_cases import tables
from tests.repository import vendors_page
from tests.repository.vendors_page import FILE


def test_the_table_is_current() -> None:
    text = FILE.read_text("utf-8")
    assert vendors_page.page(text) == text, "run: python -m tests.repository.vendors_page"


def test_an_old_table_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendors_page, "tables", dict)
    text = FILE.read_text("utf-8")
    assert vendors_page.page(text) != text
    with pytest.raises(ValueError, match="has no lines"):
        vendors_page.page("# Another page\n")


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_each_vendor_has_a_paragraph_with_its_command(vendor: str) -> None:
    _, found, rest = FILE.read_text("utf-8").partition(f"\n### {vendor}\n")
    assert found, f"no paragraph of {vendor}"
    assert f"`hotlist ingest {vendor}`" in re.split(r"\n##+ ", rest)[0]


def test_each_field_of_a_mapping_is_in_the_page() -> None:
    text = FILE.read_text("utf-8")
    for field in msgspec.structs.fields(Mapping):
        assert re.search(rf"`\[*{field.name}\]*`", text), field.name


def test_the_corpus_is_large_enough() -> None:
    """New vendors and mappings: at least 60 messages of 10 products."""
    new = ("dahua", "generic", "hikvision", "milesight", "tattile", "unifi", "verkada")
    cases = [case for vendor in new for case in tables()[vendor].cases]
    assert len(cases) >= 60
    assert len({case.product.split(",")[0] for case in cases}) >= 10
