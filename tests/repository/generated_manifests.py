"""The Kubernetes resources that say again what the engine says already, written from it.

`python -m tests.repository.generated_manifests` writes them; `tests/repository/test_deploy.py`
holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from engine.config import Settings
from engine.kafka.acls import Role, roles
from engine.kafka.topics import DECLARED, Topics

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
COMPONENTS: Final = DEPLOY / "kubernetes" / "components"
#: Of the overlay for production.
PARTITIONS: Final = 12
REPLICATION: Final = 3
CLUSTER: Final = "lpr"

_WRITTEN: Final = "# Written by `python -m tests.repository.generated_manifests`; do not edit.\n"
_STRIMZI: Final = "kafka.strimzi.io/v1"
_RESOURCE_TYPES: Final = {"transactional-id": "transactionalId"}

Manifest = dict[str, Any]


def files() -> dict[Path, str]:
    """What each written file must hold."""
    settings = Settings()
    topics = Topics(settings.prefix)
    found = {
        COMPONENTS / "strimzi" / "topics.yaml": list(_topics(topics)),
        COMPONENTS / "strimzi" / "users.yaml": [
            _user(role) for role in roles(topics, settings.group).values()
        ],
        COMPONENTS / "monitoring" / "rules.yaml": [_rules()],
    }
    return {path: _WRITTEN + _text(manifests) for path, manifests in found.items()}


def _topics(topics: Topics) -> Iterator[Manifest]:
    for declared in DECLARED:
        config: dict[str, str] = dict(declared.settings)
        if REPLICATION >= 3:
            config["min.insync.replicas"] = "2"
        yield {
            "apiVersion": _STRIMZI,
            "kind": "KafkaTopic",
            "metadata": _metadata(topics.name(declared.name)),
            "spec": {
                "partitions": declared.partitions or PARTITIONS,
                "replicas": REPLICATION,
                "config": config,
            },
        }


def _user(role: Role) -> Manifest:
    acls = [
        {
            "resource": {
                "type": _RESOURCE_TYPES.get(grant.kind, grant.kind),
                "name": name,
                "patternType": "prefix" if grant.is_prefix else "literal",
            },
            "operations": list(grant.operations),
        }
        for grant in role.grants
        for name in grant.names
    ]
    return {
        "apiVersion": _STRIMZI,
        "kind": "KafkaUser",
        "metadata": _metadata(f"hotlist-{role.name}"),
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": acls},
        },
    }


def _metadata(name: str) -> Manifest:
    return {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}}


def _rules() -> Manifest:
    groups = [
        group
        for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hotlist"},
        "spec": {"groups": groups},
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(manifests: list[Manifest]) -> str:
    return str(
        yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=100, explicit_start=True)
    )


def main() -> None:
    """Write all of them."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
