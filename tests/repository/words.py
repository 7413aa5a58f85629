"""The words of this project: those of the glossary, and those that they have replaced.

ARCHITECTURE.md has the glossary, a table of words and what they mean. Each of them is in use in
engine/. The words that were given up in their favour are not, neither there nor on the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tests.repository.pages import Page
from tests.repository.source import Source

GLOSSARY: Final = "Glossary"

#: What is no longer said, as a pattern, and what is said instead.
REPLACED: Final[dict[str, str]] = {
    r"\bhearts?\b|\bheart'?s\b|\bHeart\b|_heart\b|\bheart_": "matcher, matcher thread",
    r"\bfold(?:s|ed|ing)?\b|folded_|_folded": "suppress (a match), normalize (a plate)",
    r"given_up\b|\bgiven up\b|taken_over\b": "on_revoked, on_assigned",
    r"\bshar(?:e|es|ed|ing) out\b": "rebalance",
    r"\btold\b": "reported, described, shown",
    r"\b_?epochs?\b|(?<!producer)(?<!leader)_epochs?\b": "assignment",
    r"\bwhereabouts\b": "log_context",
    r"\bProbes\b": "ScanTables",
    r"\bUnpacker\b": "BatchReader",
    r"\btimeless\b": "library_index",
    r"\bForgett?ing\b|\bforgetting\b|\bforgets?\b|\bforgotten\b|forget_": "scrub, evict, drop",
    r"\bkeep_all\b|\bfail_all\b|\ball_kept\b": "resolve_all, reject_all, wait_all",
    r"\bnobody\b|\bsomebody\b|\bwhoever\b|\bwhosoever\b": "the one who acts: the worker, a caller",
    r"\bof which\b|\banew\b": "a plain clause; again",
}


def glossary(architecture: Page) -> dict[str, str]:
    """The words of the glossary, and what they mean."""
    _, found, rest = architecture.text.partition(f"\n## {GLOSSARY}\n")
    if not found:
        raise ValueError(f"{architecture.name} has no heading {GLOSSARY!r}")
    rows = re.findall(
        r"^\| ([a-z][^|]*?) \| ([^|]+?) \|$", rest.partition("\n## ")[0], re.MULTILINE
    )
    return {word: meaning for word, meaning in rows if word != "word"}


def unused(words: Mapping[str, str], source: Source) -> Iterator[str]:
    """The words of a glossary that no module of engine/ uses, as a word or inside of a name."""
    text = "\n".join(module.text for module in source.modules.values()).lower()
    for word in words:
        forms = {word, word.replace(" ", "_"), word.replace(" ", "")}
        if not any(re.search(rf"(?<![a-z]){re.escape(form)}", text) for form in forms):
            yield word


def replaced_words(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """By pattern, where a replaced word still stands, each time it does."""
    found: dict[str, list[str]] = {}
    for pattern in REPLACED:
        compiled = re.compile(pattern)
        for name, text in texts.items():
            found.setdefault(pattern, []).extend([name] * len(compiled.findall(text)))
    return found
