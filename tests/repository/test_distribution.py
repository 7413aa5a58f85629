"""`tests.repository.distribution`: what a release hands out, and where its links lead."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.repository.distribution import (
    ROOT,
    DistributionError,
    Place,
    bill_of_materials,
    export,
    main,
    notes,
    project_version,
    put_place,
)

_PLACE = Place("https://forge.example/o/n", "v1.2.0")
_CHANGELOG = """# Changelog

## Unreleased

- Not yet.

## 1.2.0 - 2027-01-02

### Added

- A [thing](deploy/README.md).

## 1.1.0 - 2026-12-24

- Older.

## 1.0.0 - 2026-12-01
"""


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes(_CHANGELOG, "1.2.0") == "### Added\n\n- A [thing](deploy/README.md).\n"
    assert notes(_CHANGELOG.replace("## 1.1.0", "## [1.1.0]"), "1.1.0") == "- Older.\n"


@pytest.mark.parametrize("version", ["1.0.0", "1.2", "1.3.0"])
def test_a_version_without_notes_is_none(version: str) -> None:
    with pytest.raises(DistributionError, match=r"CHANGELOG\.md has no section"):
        notes(_CHANGELOG, version)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("[a](b/c.md#d)", "[a](https://forge.example/o/n/blob/v1.2.0/b/c.md#d)"),
        ("![a](b/c.png)", "![a](https://forge.example/o/n/raw/v1.2.0/b/c.png)"),
        ("[a](#b)", "[a](#b)"),
        ("[a](https://b.example/c)", "[a](https://b.example/c)"),
        ("[a](mailto:b@c.example)", "[a](mailto:b@c.example)"),
    ],
)
def test_a_relative_link_leads_to_the_place(given: str, wanted: str) -> None:
    assert _PLACE.absolute(given) == wanted


def test_the_place_is_in_the_metadata_and_in_the_readme(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    put_place(tmp_path, _PLACE)
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    there = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))
    urls = there["project"].pop("urls")
    assert there == ours
    assert urls["Source"] == _PLACE.url
    assert all(url.startswith(_PLACE.url) for url in urls.values())
    links = re.findall(r"\]\(([^)#]+)", (tmp_path / "README.md").read_text("utf-8"))
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    # Each leads to a file of the tree.
    own = [re.sub(r"https://forge.example/o/n/(blob|raw)/v1.2.0/", "", link) for link in links]
    assert [path for path in own if "://" not in path and not (ROOT / path).exists()] == []

    with pytest.raises(DistributionError, match="urls"):
        put_place(tmp_path, _PLACE)


def test_only_what_is_committed_is_handed_out(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")
    # Not in engine/, which another test compares with the wheel meanwhile.
    left_behind = ROOT / "tests" / "left_behind.tmp"
    left_behind.write_text("left behind", "utf-8")
    try:
        export(ROOT, tmp_path / "tree")
    finally:
        left_behind.unlink()
    assert (tmp_path / "tree" / "engine" / "__init__.py").is_file()
    assert not (tmp_path / "tree" / "tests" / left_behind.name).exists()


def test_the_bill_of_materials_has_what_a_user_gets() -> None:
    bill = json.loads(bill_of_materials(ROOT))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "hotlist-engine"
    assert bill["metadata"]["component"]["version"] == project_version()
    found = {part["name"]: part for part in bill["components"]}
    image = (ROOT / "deploy" / "docker" / "requirements.txt").read_text("utf-8")
    assert set(re.findall(r"^([a-z0-9-]+)==", image, re.MULTILINE)) <= set(found)
    assert {"confluent-kafka", "openpyxl", "opentelemetry-sdk"} <= set(found)
    assert not {"pytest", "ruff", "twine", "zizmor"} & set(found)
    for part in found.values():
        assert part["purl"].startswith("pkg:pypi/")
        assert all(file["hashes"] for file in part["externalReferences"])


def test_a_tag_of_another_version_releases_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tag", "v0.0.1"]) == 1
    assert capsys.readouterr().err == (
        f"dist: the tag v0.0.1 is not that of pyproject.toml: v{project_version()}\n"
    )
