"""Holds the project to the rules of its structure: `python -m tests.repository.structure`.

Each rule is a function that finds violations. Those that were there when the rule came stand in
known.toml, which may only shrink: a violation that is not listed fails, and so does one that is
listed and not there any more. `--shrink` takes what is gone out of the file, and adds nothing.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.repository import boundaries, compiled_calls, reaching, shape, words
from tests.repository.pages import pages
from tests.repository.source import Source, Violation

KNOWN: Final = Path(__file__).with_name("known.toml")
_HEAD: Final = """\
# What broke a rule of the structure when the rule came, and still does. Only lines that are
# no longer true may change: `python -m tests.repository.structure --shrink` takes them out.
"""
#: Pages whose words are those of their time.
_HISTORY: Final = ("CHANGELOG.md", "benchmarks/results/")

#: By rule, the keys of its violations; or by word, how often it still stands.
Known = dict[str, dict[str, int]]


def violations(engine: Source, tests: Source) -> dict[str, list[Violation]]:
    """What breaks each rule that is about code."""
    rules: dict[str, Callable[[Source], Iterable[Violation]]] = {
        "private_imports": boundaries.private_imports,
        "public_lists": boundaries.wrong_lists,
        "long_modules": shape.long_modules,
        "wide_constructors": shape.wide_constructors,
        "names_twice": shape.names_twice,
        "times_outside_limits": shape.times_outside,
    }
    found = {name: list(rule(engine)) for name, rule in rules.items()}
    found["private_reaches"] = list(reaching.private_reaches(engine, tests))
    found["inner_calls"] = list(compiled_calls.inner_calls(engine, tests))
    return found


def texts(engine: Source) -> dict[str, str]:
    """What people read: the modules of engine/, and the pages."""
    found = {module.path: module.text for module in engine.modules.values()}
    for page in pages():
        if not page.name.startswith(_HISTORY):
            found[page.name] = page.text
    return found


def counted(found: Mapping[str, list[Violation]], replaced: Mapping[str, list[str]]) -> Known:
    """As known.toml has it: how often each violation and each replaced word occurs."""
    known: Known = {rule: {} for rule in (*found, "replaced_words")}
    for rule, each in found.items():
        for violation in each:
            known[rule][violation.key] = known[rule].get(violation.key, 0) + 1
    known["replaced_words"] = {word: len(places) for word, places in replaced.items() if places}
    return known


def complaints(
    found: Mapping[str, list[Violation]], replaced: Mapping[str, list[str]], known: Known
) -> Iterator[str]:
    """One line for each new violation and for each line of known.toml that is no longer true."""
    now = counted(found, replaced)
    for rule, each in found.items():
        listed = dict(known.get(rule, {}))
        for violation in each:
            listed[violation.key] = listed.get(violation.key, 0) - 1
            if listed[violation.key] < 0:
                yield f"{rule}: {violation.text}"
    for word, count in now["replaced_words"].items():
        if count > known.get("replaced_words", {}).get(word, 0):
            where = ", ".join(sorted(set(replaced[word]))[:4])
            yield (
                f"replaced_words: {word!r} stands {count} times, more than before ({where}, ...); "
                f"say instead: {words.REPLACED[word]}"
            )
    for rule, listed in known.items():
        for key, count in listed.items():
            if now.get(rule, {}).get(key, 0) < count:
                yield f"{rule}: known.toml has {key!r}, which is mended; run with --shrink"


def shrunk(known: Known, now: Known) -> Known:
    """What of a list is still true."""
    return {
        rule: {
            key: min(count, now.get(rule, {}).get(key, 0))
            for key, count in sorted(listed.items())
            if now.get(rule, {}).get(key, 0)
        }
        for rule, listed in known.items()
    }


def as_toml(known: Known) -> str:
    """The text of known.toml."""
    lines = [_HEAD.rstrip()]
    for rule, listed in known.items():
        lines += ["", f"[{rule}]", *(f"{json.dumps(key)} = {n}" for key, n in listed.items())]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Print the complaints; the exit status."""
    engine, tests = Source.read("engine"), Source.read("tests")
    found = violations(engine, tests)
    replaced = words.replaced_words(texts(engine))
    known: Known = tomllib.loads(KNOWN.read_text("utf-8"))
    if arguments == ["--shrink"]:
        known = shrunk(known, counted(found, replaced))
        KNOWN.write_text(as_toml(known), "utf-8")
    lines = list(complaints(found, replaced, known))
    for line in lines:
        print(line)
    left = {rule: sum(listed.values()) for rule, listed in known.items() if listed}
    print("known violations:", ", ".join(f"{rule} {n}" for rule, n in left.items()) or "none")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
