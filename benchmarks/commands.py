"""The command line of each engine, and what has to be built before its first run.

Built things lie under `work/`: a jar for a Maven project, an environment for a module whose
pins disagree with ours. They are built once, and again when their sources have changed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks.definitions import DIRECTORY, WORK, Engine
from benchmarks.job import Job

_BUILD_S = 900
#: Of every process. Modules are found from the repository's root, whatever directory it runs in.
#: Bytecode is kept, as Python does unless told otherwise: without it, each worker would first
#: compile all that it imports, which takes 1.7 s.
ENVIRONMENT = {
    "PYTHONPATH": str(DIRECTORY.parent),
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "",
}


class UnavailableError(Exception):
    """An engine cannot be built on this machine; the text says why in one line."""


def prepare(engine: Engine) -> None:
    """Build what the engine needs. Raises UnavailableError."""
    if engine.maven is not None:
        build_jar(engine.maven)
    elif engine.requirements is not None:
        _build_environment(engine.requirements)


def command(engine: Engine, job: Job) -> list[str]:
    """The command line that runs the engine on a job."""
    argument = msgspec.json.encode(job).decode()
    if engine.maven is not None:
        return ["java", *engine.java_options, "-jar", str(_jar(engine.maven)), argument]
    assert engine.module is not None
    python = sys.executable if engine.requirements is None else str(_python(engine.requirements))
    return [python, "-m", engine.module, argument]


def _jar(project: str) -> Path:
    return WORK / "maven" / Path(project).name / "engine.jar"


def build_jar(project: str) -> Path:
    """Build a Maven project into a jar unless it is there. Raises UnavailableError."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise UnavailableError("needs Java and Maven on PATH")
    source = DIRECTORY / project
    jar = _jar(project)
    built = jar.parent
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    stamp = _stamp(files)
    if not _is_built(built, stamp):
        pom = str(source / "pom.xml")
        _run("mvn", "-q", "-B", "-f", pom, f"-DbuildDirectory={built}", "package")
        (built / "stamp").write_text(stamp)
    return jar


def _python(requirements: str) -> Path:
    return WORK / "environments" / Path(requirements).stem / "bin" / "python"


def _build_environment(requirements: str) -> None:
    source = DIRECTORY / requirements
    built = _python(requirements).parent.parent
    stamp = _stamp([source])
    if _is_built(built, stamp):
        return
    _run(sys.executable, "-m", "venv", "--clear", str(built))
    _run(
        *(str(_python(requirements)), "-m", "pip", "install", "--quiet"),
        *("--disable-pip-version-check", "-r", str(source)),
    )
    (built / "stamp").write_text(stamp)


def _stamp(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _is_built(directory: Path, stamp: str) -> bool:
    file = directory / "stamp"
    return file.exists() and file.read_text() == stamp


def _run(*arguments: str) -> None:
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise UnavailableError(f"{' '.join(arguments[:3])} failed: {lines[0][:200]}")
