"""What a release hands out: the wheel, the sdist, their bill of materials, their notes.

`make dist` builds them from the last commit, checks them, and tries the wheel as a stranger does:
in an empty environment, outside of a clone, beside a directory `engine/` that is not ours.

* `dist/` gets the wheel and the sdist, and nothing else: it is what is uploaded to PyPI.
* `build/release/` gets the CycloneDX bill of materials of the lock, the checksums, and with a tag
  the notes: the version's section of CHANGELOG.md.

Where the repository will be published is not known here. With `--forge https://HOST/OWNER/NAME` the
built copy gets `[project.urls]`, and the links of README.md and of the notes lead to that place:
relative ones lead nowhere on a package's page. The release workflow takes the address from the
forge's own variables.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
UV: Final = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv"
#: What builds the wheel, with hashes; `make lock` writes it.
_BUILD_TOOLS: Final = "deploy/docker/build.txt"
_TIMEOUT_S: Final = 600
#: A link or a picture of Markdown whose address is a path of the repository.
_RELATIVE: Final = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<path>(?!#|\w+:)[^)\s]+)\)")


class DistributionError(Exception):
    """What keeps the release from being made."""


class Place(NamedTuple):
    """Where the repository is published, and the tag or commit that is released."""

    url: str
    ref: str

    def absolute(self, markdown: str) -> str:
        """Return the text with each relative link leading to the place."""

        def link(found: re.Match[str]) -> str:
            kind = "raw" if found["image"] else "blob"
            address = f"{self.url}/{kind}/{self.ref}/{found['path']}"
            return f"{found['image']}[{found['text']}]({address})"

        return _RELATIVE.sub(link, markdown)


def outsiders_environment() -> dict[str, str]:
    """Return this process's environment without what would let a command find the clone."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV"} and not name.startswith("HOTLIST_")
    }


def run(*command: str | Path, cwd: Path) -> str:
    """Return the standard output of a command in an outsider's environment.

    Raises DistributionError, with all that it printed, if it fails.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=outsiders_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise DistributionError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def project_version() -> str:
    """Return the version in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def export(tree: Path, place: Path) -> None:
    """Copy what is committed, so that nothing that lies about in the tree is handed out."""
    run("git", "clone", "--quiet", "--depth", "1", tree.as_uri(), place, cwd=tree)


def put_place(tree: Path, place: Place) -> None:
    """Write the place into the metadata and the README of a copy of the tree."""
    project = tree / "pyproject.toml"
    text = project.read_text("utf-8")
    if "urls" in tomllib.loads(text)["project"]:
        raise DistributionError("pyproject.toml has [project.urls] already: leave out --forge")
    urls = {
        "Changelog": f"{place.url}/blob/{place.ref}/CHANGELOG.md",
        "Documentation": f"{place.url}/tree/{place.ref}/deploy/guides",
        "Issues": f"{place.url}/issues",
        "Source": place.url,
    }
    lines = "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    project.write_text(f"{text}\n[project.urls]\n{lines}", "utf-8")
    readme = tree / "README.md"
    readme.write_text(place.absolute(readme.read_text("utf-8")), "utf-8")


def build(tree: Path, out: Path) -> list[Path]:
    """Build the sdist, and the wheel from it, with the locked tools; return both."""
    tools = ("--build-constraints", tree / _BUILD_TOOLS, "--require-hashes")
    run(UV, "build", "--quiet", "--no-create-gitignore", *tools, "--out-dir", out, cwd=tree)
    return sorted(out.iterdir())


def check(packages: Sequence[Path]) -> None:
    """Hold the packages against what PyPI accepts, and the wheel against common mistakes."""
    tools = Path(sys.executable).parent
    run(tools / "twine", "check", "--strict", *packages, cwd=ROOT)
    wheels = [path for path in packages if path.suffix == ".whl"]
    run(tools / "check-wheel-contents", *wheels, cwd=ROOT)


def bill_of_materials(tree: Path) -> str:
    """Return the CycloneDX document of what the lock holds for a user, with all extras."""
    options = ("--locked", "--quiet", "--no-dev", "--all-extras")
    kind = ("--format", "cyclonedx1.5", "--preview-features", "sbom-export")
    return run(UV, "export", *options, *kind, cwd=tree)


def notes(changelog: str, number: str) -> str:
    """Return the version's section of a changelog. Raises DistributionError if there is none."""
    for section in re.split(r"^(?=## )", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if heading.split()[1].strip("[]") == number and text.strip():
            return f"{text.strip()}\n"
    raise DistributionError(f"CHANGELOG.md has no section '## {number} - DATE' with a text")


def install(python: str | Path, package: Sequence[str], environment: Path) -> Path:
    """Install a package (as `uv pip install` takes it) in a new, empty environment.

    Returns the directory of its commands.
    """
    run(UV, "venv", "--quiet", "--python", python, environment, cwd=environment.parent)
    target = ("--python", environment)
    run(UV, "pip", "install", "--quiet", *target, *package, cwd=environment.parent)
    return environment / "bin"


def try_demo(hotlist: Path, directory: Path) -> None:
    """Run an installed demo in a directory that has an `engine` of its own."""
    theirs = directory / "engine" / "__init__.py"
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("raise RuntimeError('this is not the engine of hotlist')\n", "utf-8")
    printed = run(hotlist, "demo", "--reads", "2000", cwd=directory)
    if "0 lost, 0 invented" not in printed:
        raise DistributionError(f"the demo of the wheel did not find what it should:\n{printed}")


def make(out: Path, release: Path, *, tag: str | None, forge: str | None) -> list[Path]:
    """Build, check and try everything of a release; return the files.

    With a tag it must be that of the version, and the version must have notes.
    """
    number = project_version()
    if tag not in (None, f"v{number}"):
        raise DistributionError(f"the tag {tag} is not that of pyproject.toml: v{number}")
    for directory in (out, release):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="hotlist-dist-") as temporary:
        tree, elsewhere = Path(temporary, "tree"), Path(temporary, "elsewhere")
        elsewhere.mkdir()
        export(ROOT, tree)
        written = (tree / "CHANGELOG.md").read_text("utf-8")
        if forge is not None:
            commit = run("git", "rev-parse", "HEAD", cwd=tree).strip()
            place = Place(forge.rstrip("/"), tag or commit)
            put_place(tree, place)
            written = place.absolute(written)
        packages = build(tree, out)
        check(packages)
        files = {f"hotlist-engine-{number}.cdx.json": bill_of_materials(tree)}
        if tag is not None:
            files["notes.md"] = notes(written, number)
        [wheel] = out.glob("*.whl")
        package = [f"hotlist-engine[embedded] @ {wheel.as_uri()}"]
        commands = install(sys.executable, package, elsewhere / "venv")
        try_demo(commands / "hotlist", elsewhere / "work")
    for name, text in files.items():
        (release / name).write_text(text, "utf-8")
    handed_out = [*packages, *(release / name for name in files if name != "notes.md")]
    (release / "SHA256SUMS").write_text("".join(map(_checksum, handed_out)), "utf-8")
    return [*packages, *sorted(release.iterdir())]


def _checksum(path: Path) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a release's files. For `make dist` and the release workflow."""
    parser = argparse.ArgumentParser(prog="tests.repository.distribution", description=main.__doc__)
    parser.add_argument(
        "--tag", help="the version's tag, such as v0.1.0; its notes are needed then"
    )
    parser.add_argument("--forge", help="where the repository is: https://HOST/OWNER/NAME")
    options = parser.parse_args(arguments)
    out, release = ROOT / "dist", ROOT / "build" / "release"
    try:
        files = make(out, release, tag=options.tag or None, forge=options.forge or None)
    except DistributionError as error:
        print(f"dist: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
