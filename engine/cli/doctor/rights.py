"""What a role needs on the brokers and a login lacks; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.kafka.acl_probe import GroupInfo, Topic
from engine.kafka.acls import Role


def lacking_rights(
    role: Role, topics: Mapping[str, Topic], groups: Mapping[str, GroupInfo | None]
) -> Sequence[str]:
    """Return the rights that the role needs and the login lacks, as text; skip unknown ones."""
    lacks = []
    for grant in role.grants:
        if grant.is_prefix:
            continue
        shown: Mapping[str, Topic | GroupInfo | None] = topics if grant.kind == "topic" else groups
        for name in grant.names:
            found = shown.get(name)
            may = None if found is None else found.may
            missing = [each for each in grant.operations if may is None or each not in may]
            if missing:
                lacks.append(f"{' and '.join(missing)} on {grant.kind} {name}")
    return lacks
