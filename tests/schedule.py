"""Which process of `make test` runs which file of tests, and when.

The last process takes the files that need no Kafka, the others those under `tests/kafka`: each
process starts brokers of its own, and while the tests on Kafka wait, the last one has work. Who has
no more of its kind helps with the other. `LONG` comes first, so that all processes end together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_ON_KAFKA: Final = "tests/kafka/"

#: The files that take half a minute or more, the longest first.
LONG: Final = (
    "tests/kafka/torture/test_torture.py",
    "tests/kafka/worker/test_cluster.py",
    "tests/kafka/worker/test_main_job.py",
    "tests/kafka/worker/test_audit.py",
    "tests/kafka/repository/test_runbook.py",
    "tests/kafka/repository/test_deployments.py",
    "tests/kafka/transport/test_positions.py",
    "tests/kafka/kafka/test_roles.py",
    "tests/kafka/worker/test_nothing_left.py",
    "tests/kafka/worker/test_backpressure.py",
    "tests/kafka/cli/test_sync_command.py",
    "tests/kafka/repository/test_guides.py",
    "tests/kafka/kafka/test_secrets.py",
    "tests/kafka/worker/test_mixed_versions.py",
    "tests/kafka/worker/test_shutdown.py",
    "tests/kafka/observability/test_prometheus.py",
    "tests/kafka/control/test_replica.py",
    "tests/kafka/delivery/test_exactly_once.py",
    "tests/repository/test_packaging.py",
    "tests/repository/test_prometheus.py",
    "tests/demo/test_run.py",
    "tests/properties/test_simulation.py",
    "tests/matching/test_scanner.py",
    "tests/properties/test_state_machine.py",
)
_PLACES: Final = {file: place for place, file in enumerate(LONG)}


def next_file(files: Iterable[str], *, on_kafka: bool) -> str:
    """The file of these that a process takes next: of its kind if there is one, and a long one."""
    return min(
        files,
        key=lambda file: (file.startswith(_ON_KAFKA) != on_kafka, _PLACES.get(file, len(LONG))),
    )


class Schedule(LoadFileScheduling):  # type: ignore[misc]
    """xdist's `loadfile` in the order of this module; see `tests.conftest`."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        nodes = self.nodes
        on_kafka = len(nodes) == 1 or node is not nodes[-1]
        self.workqueue.move_to_end(next_file(self.workqueue, on_kafka=on_kafka), last=False)
        super()._assign_work_unit(node)
