"""What `hotlist policies set` is about to change, for a person to check before it is sent.

`HEADINGS` and `rows` make the table, `open_rules` says in words which rules open a source to every
agency or for every purpose, `as_json` is one document with both. `describe_regions` and
`describe_names` are how the tables of `hotlist policies` show them. Nothing here reads or prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from engine.documents.model import Policy, Rule

HEADINGS: Final = ("source", "agencies", "purposes", "regions", "change")

_Names = tuple[str, ...] | str


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy as written in a file, and the one that stands; None if none does."""

    policy: Policy
    standing: Policy | None

    @property
    def kind(self) -> str:
        """What happens to the source: `new`, `changed`, or `same` if it allows what it allowed."""
        if self.standing is None:
            return "new"
        same_rules = _rule_keys(self.policy).keys() == _rule_keys(self.standing).keys()
        return "same" if same_rules and self._same_regions else "changed"

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield a row for each rule, then one for each rule that the policy no longer has."""
        rules = _rule_keys(self.policy)
        standing = {} if self.standing is None else _rule_keys(self.standing)
        if self.standing is None or self._same_regions:
            kept = "same"
        else:
            kept = f"regions were {describe_regions(self.standing)}"
        for key, cells in rules.items():
            change = kept if key in standing else "new"
            yield (self.policy.source, *cells, describe_regions(self.policy), change)
        if self.standing is not None:
            for key, cells in standing.items():
                if key not in rules:
                    yield (self.policy.source, *cells, describe_regions(self.standing), "removed")

    def open_rules(self) -> list[str]:
        """Return a sentence for each rule that names every agency or every purpose."""
        policy = self.policy
        where = "" if policy.regions is None else f", in {describe_regions(policy)}"
        found = []
        for rule in policy.rules:
            if not rule.agencies or not rule.purposes:
                continue  # which allows nothing
            if not isinstance(rule.agencies, str) and not isinstance(rule.purposes, str):
                continue
            who = "every agency" if isinstance(rule.agencies, str) else _listed(rule.agencies)
            why = "every purpose" if isinstance(rule.purposes, str) else _listed(rule.purposes)
            found.append(f"{policy.source}: {who} may match on its reads for {why}{where}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the change as one document; `standing` is null if no policy stands."""
        from engine.documents.codec import encode

        return {
            "source": self.policy.source,
            "change": self.kind,
            "opens": self.open_rules(),
            "policy": orjson.loads(encode(self.policy)),
            "standing": None if self.standing is None else orjson.loads(encode(self.standing)),
        }

    @property
    def _same_regions(self) -> bool:
        assert self.standing is not None
        return _region_key(self.policy) == _region_key(self.standing)


def describe_regions(policy: Policy) -> str:
    """Return the regions of a policy for a table; `all` if it does not restrict them."""
    return "all" if policy.regions is None else " ".join(policy.regions) or "none"


def describe_names(names: _Names) -> str:
    """Return agencies or purposes for a table: `*` for all of them, `none` for an empty list.

    An agency whose name is `*` is in quotes, because a rule that lists it names only that one.
    """
    if isinstance(names, str):
        return names
    return " ".join(map(_quoted, names)) or "none"


def _quoted(name: str) -> str:
    return "'*'" if name == "*" else name


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(_quoted, names))


def _rule_keys(policy: Policy) -> dict[object, tuple[str, str]]:
    """Return the cells of each rule, by what it allows: the order of names makes no difference."""
    rules: tuple[Rule, ...] = tuple(policy.rules)
    if not rules:
        return {"none": ("none", "none")}
    return {
        (_key(rule.agencies), _key(rule.purposes)): (
            describe_names(rule.agencies),
            describe_names(rule.purposes),
        )
        for rule in rules
    }


def _key(names: _Names) -> object:
    return names if isinstance(names, str) else frozenset(names)


def _region_key(policy: Policy) -> object:
    return None if policy.regions is None else frozenset(policy.regions)
