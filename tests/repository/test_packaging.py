"""What is built from the tree: installed by itself, away from the tree, it works.

On the Python that runs the tests, and on every other from 3.11 on that is to be had.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.repository.deploy_tools import find_tool
from tests.repository.distribution import (
    ROOT,
    DistributionError,
    build,
    check,
    install,
    project_version,
    run,
    try_demo,
)

_OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
_VERSIONS = ("3.11", "3.12", "3.13")
#: What a program does that has an `engine` of its own, before and after ours is used.
_BESIDE_ANOTHER = """
import pickle
import engine
from hotlist_engine import Detection, HotListIndex, encode, normalize
from hotlist_engine.adapters import ADAPTERS, AdapterError, Site

entry = {
    "entry_id": "E-1", "list_id": "stolen", "plate": "ABC123", "agency": "PD01",
    "purpose": "stolen_vehicle", "authority": {"kind": "case", "reference": "2026-118"},
    "requested_by": "j.doe", "created_at": "2026-11-22T08:00:00Z",
    "expires_at": "2026-12-22T08:00:00Z", "confusables": True,
}
index = HotListIndex()
assert index.add_many([entry]).added == 1
[found] = index.snapshot().find(normalize("a8c-123"))
assert found.entry.entry_id == "E-1"

message = b'{"type": "lpr", "camera": "drive", "plate": "ABC123"}'
site = Site(source="city-north", country="US")
try:
    ADAPTERS["frigate"](message, site)
except AdapterError as error:
    assert error.reason == "missing_field"
[read] = ADAPTERS["frigate"](message[:-1] + b', "id": "1", "timestamp": 1795363200.4}', site).reads
assert isinstance(read, Detection)
assert pickle.loads(pickle.dumps(read)) == read
assert encode(read).key == b"ABC123"

import engine as again
assert (engine.whose, again.whose) == ("theirs", "theirs")
print("both work")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist."""
    out = tmp_path_factory.mktemp("built")
    build(ROOT, out)
    return out


def only(directory: Path, pattern: str) -> Path:
    [found] = directory.glob(pattern)
    return found


def test_the_wheel_holds_the_engine_and_nothing_else(built: Path) -> None:
    names = zipfile.ZipFile(only(built, "*.whl")).namelist()
    sources = {
        path.relative_to(ROOT).as_posix().removeprefix("engine/public/")
        for path in (ROOT / "engine").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    schemas = {f"engine/schemas/{path.name}" for path in (ROOT / "schemas").iterdir()}
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    described = {f"hotlist_engine-{project_version()}.dist-info/{name}" for name in about}
    assert {"engine/data/status_page.html", "hotlist_engine/py.typed"} <= sources
    assert sorted(names) == sorted(sources | schemas | described)


def test_the_packages_keep_to_the_rules_of_pypi(built: Path) -> None:
    for tool in ("twine", "check-wheel-contents"):
        find_tool(tool)
    check(sorted(built.iterdir()))


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py"}
    assert names >= {f"schemas/{path.name}" for path in (ROOT / "schemas").iterdir()}
    assert not any(name.startswith((".git/", ".venv/")) for name in names)


def _interpreter(version: str, directory: Path) -> str | None:
    """A Python of a version that runs; None where there is none."""
    if version == _OWN:
        return sys.executable
    candidates: list[str | Path] = [
        f"python{version}",
        *Path.home().glob(f".pyenv/versions/{version}.*/bin/python"),
    ]
    for candidate in candidates:
        try:
            run(candidate, "-c", "import venv", cwd=directory)
        except (DistributionError, OSError):
            continue
        return str(candidate)
    return None


def _compiled_on(directory: Path) -> str:
    """The Python on which all of the engine is compiled and run from the wheel, for a minute.

    That of the tests has compiled it for them, and the wheel is the same for all: it is the one
    that is furthest away.
    """
    there = [version for version in _VERSIONS if _interpreter(version, directory) is not None]
    return max(there, key=lambda version: abs(_minor(version) - sys.version_info.minor))


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


# A wheel made from the sdist is the same for all versions.
@pytest.mark.parametrize(
    ("kind", "version"),
    [*(("*.whl", version) for version in _VERSIONS), ("*.tar.gz", _OWN), ("editable", _OWN)],
)
def test_it_runs_where_it_is_installed(
    built: Path, tmp_path: Path, kind: str, version: str
) -> None:
    python = _interpreter(version, tmp_path)
    if python is None:
        pytest.skip(f"no Python {version} here")
    package = (
        ["--editable", f"{ROOT}[embedded]"]
        if kind == "editable"
        else [f"hotlist-engine[embedded] @ {only(built, kind).as_uri()}"]
    )
    commands = install(python, package, tmp_path / "venv")
    hotlist, installed = commands / "hotlist", commands / "python"
    assert run(hotlist, "--version", cwd=tmp_path).startswith("hotlist 0.")
    for name in ("engine", "hotlist_engine"):
        public = f"from {name} import Detection, HotListIndex, encode, normalize; "
        assert run(installed, "-c", f"{public}print(normalize('a-1'))", cwd=tmp_path) == "A1\n"

    compiles = kind == "*.whl" and version == _compiled_on(tmp_path)
    if compiles:  # for a while
        try_demo(hotlist, tmp_path / "demo")
    for theirs in ("module/engine.py", "package/engine/__init__.py"):
        beside = tmp_path / theirs.partition("/")[0]
        (tmp_path / theirs).parent.mkdir(parents=True)
        (tmp_path / theirs).write_text("whose = 'theirs'\n", "utf-8")
        (beside / "app.py").write_text(_BESIDE_ANOTHER, "utf-8")
        assert run(hotlist, "--version", cwd=beside).startswith("hotlist 0.")
        if compiles or kind == "editable":
            assert run(installed, "app.py", cwd=beside) == "both work\n"
