"""Whether a type checker knows every type of the public API: `python -m
tests.repository.type_completeness`.

What `engine` and `engine.ingest.adapters` give out, the modules that define it, and all that its
signatures refer to. The type checker is basedpyright (`--verifytypes`), as of the group `types`.
Exits with 1 and one line for each symbol of which a type is unknown, or left to be guessed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import engine
from engine.ingest import adapters

_PACKAGE = Path(engine.__file__).parent

#: Guessed alike by all type checkers, because what it stands for says it.
_GUESSED_ALIKE = frozenset({"engine.documents.model.entry_time_ms"})


def public_modules() -> set[str]:
    """The modules in which what is given out is defined."""
    found = {"engine", "engine.errors", "engine.ingest.adapters", "engine.ingest.adapters.message"}
    for package in (engine, adapters):
        for name in package.__all__:
            found.add(getattr(getattr(package, name), "__module__", package.__name__))
    return found - {"builtins", "typing", "collections.abc"}


def unknown(symbols: list[dict[str, Any]], modules: set[str]) -> list[str]:
    """The names of symbols in these modules of which a type is not known."""
    return sorted(
        symbol["name"]
        for symbol in symbols
        if (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
        and symbol["name"] not in _GUESSED_ALIKE
        and _module_of(symbol["name"], modules)
    )


def _module_of(name: str, modules: set[str]) -> bool:
    """Whether a name stands in one of the modules itself, and not in another that lies in it."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if (_PACKAGE / Path(*parts[1:length])).with_suffix(".py").is_file() or (
            _PACKAGE / Path(*parts[1:length]) / "__init__.py"
        ).is_file():
            return module in modules
    return False


def main() -> int:
    """Run the type checker and say what it does not know."""
    with tempfile.TemporaryDirectory() as elsewhere:  # so that it sees what is installed
        done = subprocess.run(
            [
                *(sys.executable, "-m", "basedpyright", "--verifytypes", "engine"),
                *("--ignoreexternal", "--outputjson"),
            ],
            cwd=elsewhere,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    except (json.JSONDecodeError, KeyError):
        print(done.stdout, done.stderr, file=sys.stderr)
        return 2
    modules = public_modules()
    names = unknown(symbols, modules)
    for name in names:
        print(f"{name}: a type is not known, or left to be guessed")
    checked = sum(_module_of(symbol["name"], modules) for symbol in symbols)
    print(f"{checked} symbols of the public API, {len(names)} without a known type")
    return 1 if names or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
