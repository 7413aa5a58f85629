"""Reads the files of `hotlist policies set`.

A person writes them, so what is not known in them is refused: a misspelt field would otherwise
allow what it was meant to exclude.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.clock import format_time
from engine.errors import DocumentError, HotlistError

if TYPE_CHECKING:
    from engine.documents.model import Policy


class PolicyError(HotlistError):
    """A policy that the user wrote or named is unusable."""


def read_policies(path: Path, operator: str, now_ms: int, codes: Collection[str]) -> list[Policy]:
    """Return the checked policies of a file; PolicyError names the wrong policy and field.

    `codes` are those of the purposes file. A person writes the file, so an unknown field is an
    error: `region` instead of `regions` would allow every region.
    """
    from engine.documents.codec import decode_policy

    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        orjson.loads(text)  # for its errors, which say where
        content = json.loads(text, object_pairs_hook=lambda pairs: _without_repeats(pairs, path))
    except orjson.JSONDecodeError as error:
        raise PolicyError(
            f"not valid JSON at line {error.lineno}, column {error.colno}", where=str(path)
        ) from None
    documents = content if isinstance(content, list) else [content]
    if not documents:
        raise PolicyError("holds no policy", where=str(path))
    policies: dict[str, Policy] = {}
    for number, document in enumerate(documents, start=1):
        where = f"{path}: policy {number}" if isinstance(content, list) else str(path)
        _check_fields(document, where)
        try:
            policy = decode_policy(orjson.dumps(_filled(document, operator, now_ms)))
        except DocumentError as error:
            raise PolicyError(f"{error.field}: {error.rule}", where=where) from None
        _check_names(policy, codes, where)
        if policy.source in policies:
            raise PolicyError(f"a second policy of {policy.source!r}", where=where)
        policies[policy.source] = policy
    return list(policies.values())


def _without_repeats(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise PolicyError(f"the field {name!r} stands twice in one object", where=str(path))
        made[name] = value
    return made


def _check_fields(document: Any, where: str) -> None:
    """Refuse unknown fields of a policy and of its rules."""
    from engine.documents.model import Policy, Rule

    if not isinstance(document, dict):
        return  # which the schema rejects
    rules = document.get("rules")
    of_rules = enumerate(rules if isinstance(rules, list) else [])
    parts: list[tuple[str, Any, tuple[str, ...]]] = [
        ("$", document, Policy.__struct_fields__),
        *((f"$.rules[{place}]", rule, Rule.__struct_fields__) for place, rule in of_rules),
    ]
    for at, part, known in parts:
        for name in part if isinstance(part, dict) else ():
            if name not in known:
                raise PolicyError(
                    f"{at}: unknown field {name!r}; the fields are {', '.join(known)}", where=where
                )


def _check_names(policy: Policy, codes: Collection[str], where: str) -> None:
    """Refuse purposes that the purposes file lacks, and names with blanks around them."""
    named = [("$.source", policy.source)]
    for place, rule in enumerate(policy.rules):
        if not isinstance(rule.agencies, str):
            named += [(f"$.rules[{place}].agencies", agency) for agency in rule.agencies]
        for code in rule.purposes if not isinstance(rule.purposes, str) else ():
            if code not in codes:
                raise PolicyError(
                    f"$.rules[{place}].purposes: {code!r} is not in the purposes file, which has "
                    f"{', '.join(codes)}",
                    where=where,
                )
    for at, name in named:
        if name != name.strip():
            raise PolicyError(f"{at}: {name!r} begins or ends with a blank", where=where)


def _filled(document: Any, operator: str, now_ms: int) -> Any:
    if not isinstance(document, dict):
        return document  # which the schema rejects
    own = {field: value for field, value in document.items() if value is not None}
    return {"updated_by": operator, "updated_at": format_time(now_ms), **own}
