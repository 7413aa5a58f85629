"""Which entries and policies the contract admits, written from its text and the public schemas.

Nothing is imported from the engine, so that a rule that the engine gets wrong cannot be wrong here
for the same reason.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.models.contract_plates import normal_form

SCHEMAS = Path(__file__).parents[2] / "schemas"
UNKNOWN = "?"
DAY_MS = 86_400_000
# "`created_at` may not lie in the future (five minutes of clock skew aside)"
CLOCK_SKEW_MS = 5 * 60_000

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Purpose:
    """A line of the purposes file: "its longest term and its floor of known characters"."""

    longest_term_days: int = 365  # "default 365 days"
    known_characters_floor: int = 4  # "default 4: no dragnets"


def milliseconds(text: str) -> int:
    """Milliseconds since 1970 of a time: "RFC 3339 in UTC with milliseconds"; finer digits go."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 1000 + int((fraction + "000")[:3])


@cache
def _validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry()
    for path in SCHEMAS.glob("*.json"):
        resource = Resource.from_contents(json.loads(path.read_text()))
        registry = registry.with_resource(path.name, resource)
        registry = resource @ registry
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text())
    return Draft202012Validator(schema, registry=registry)


def entry_fault(
    key: str,
    entry: Document,
    now_ms: int,
    purposes: Mapping[str, Purpose],
    normalize: Callable[[str], str] = normal_form,
) -> str | None:
    """Return why the entry of a record with this key is refused at `now_ms`, or None.

    "An entry is refused [...] where: a required field is missing; the purpose is not in the
    purposes file; `expires_at` is not after `created_at` or is further off than the purpose's
    longest term; the plate has fewer known characters than the purpose's floor, or is not in
    normal form." The schemas "are the one source of truth: what the code accepts is what they
    accept".
    """
    if not _validator("entry").is_valid(entry):
        return "schema"
    if entry["entry_id"] != key:  # entry.v1.json: "The key of its record is entry_id"
        return "key"
    purpose = purposes.get(entry["purpose"])
    if purpose is None:
        return "purpose"
    return _date_fault(entry, now_ms, purpose) or _plate_fault(entry, purpose, normalize)


def _date_fault(entry: Document, now_ms: int, purpose: Purpose) -> str | None:
    created, expires = milliseconds(entry["created_at"]), milliseconds(entry["expires_at"])
    if created > now_ms + CLOCK_SKEW_MS:
        return "created_at"
    if not created < expires <= created + purpose.longest_term_days * DAY_MS:
        return "expires_at"
    return None


def _plate_fault(entry: Document, purpose: Purpose, normalize: Callable[[str], str]) -> str | None:
    plate = entry["plate"]
    known = plate.replace(UNKNOWN, "")
    floor = purpose.known_characters_floor
    if entry.get("distance"):
        # entry.v1.json: "1 is not possible for a plate with unknown characters, and requires one
        # known character more than the purpose's minimum."
        if known != plate:
            return "distance"
        floor += 1
    if len(known) < floor:
        return "known characters"
    filled = plate.replace(UNKNOWN, "0")  # a digit joins with no neighbour
    return None if normalize(filled) == filled else "normal form"


def policy_fault(key: str, policy: Document) -> str | None:
    """Return why the policy of a record with this key is no policy, or None."""
    if not _validator("policy").is_valid(policy):
        return "schema"
    return None if policy["source"] == key else "key"


def covers(allowed: str, region: str) -> bool:
    """Whether an allowed region contains another: "A country covers its subdivisions"."""
    return region == allowed or (len(allowed) == 2 and region.startswith(allowed + "-"))


def allows(policy: Document | None, entry: Document, read: Document, unknown_region: bool) -> bool:
    """Whether a source's policy allows an entry on a read.

    "No policy: nothing matches (default-deny)"; "An empty list of rules denies all"; "An entry may
    match if at least one rule allows its agency and its purpose together."
    """
    if policy is None:
        return False
    regions, region = policy.get("regions"), read.get("region")
    if regions is not None:
        if region is None:
            if not unknown_region:
                return False
        elif not any(covers(allowed, region) for allowed in regions):
            return False
    return any(
        _lists(rule["agencies"], entry["agency"]) and _lists(rule["purposes"], entry["purpose"])
        for rule in policy["rules"]
    )


def _lists(allowed: str | list[str], value: str) -> bool:
    return allowed == "*" or value in allowed
