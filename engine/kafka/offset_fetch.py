"""A coordinator that cannot say what a group has committed is asked again.

Since version 2 of OffsetFetch (KIP-88) a coordinator that is loading the group, or is not its
coordinator any more, answers with one error for the whole group and without partitions. aiokafka
0.14 looks only at the errors of partitions, and takes the answer for a group that has committed
nothing: its consumer would begin all partitions at the oldest read kept. That is what happens when
the partition of `__consumer_offsets` moves to another broker while a group rebalances. Other
clients had the fault too (Parsely/pykafka 958, IBM/sarama 3574).

It wraps one method of aiokafka's coordinator; `tests/kafka_package/test_offset_fetch.py` fails
loudly if that changes.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    NoError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest

#: After these the coordinator must be looked for again.
_ELSEWHERE: Final = (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError)


def ask_again_for_commits(consumer: AIOKafkaConsumer) -> None:
    """Have a started consumer of a group raise the error of a group's whole answer. aiokafka tries
    again after the retriable ones.

    Raises RuntimeError if this aiokafka's coordinator sends in another way.
    """
    coordinator = consumer._coordinator
    if not hasattr(coordinator, "_send_req") or not hasattr(coordinator, "coordinator_dead"):
        raise RuntimeError("this version of aiokafka has another coordinator; pin aiokafka 0.14")
    send = coordinator._send_req

    async def send_and_look(request: Any) -> Any:
        response = await send(request)
        if isinstance(request, OffsetFetchRequest) and response.API_VERSION >= 2:
            error = for_code(response.error_code)
            if error in _ELSEWHERE:
                coordinator.coordinator_dead()
            if error is GroupAuthorizationFailedError:
                raise error(coordinator.group_id)
            if error is not NoError:
                raise error
        return response

    coordinator._send_req = send_and_look
