"""The answer of a group's coordinator to `kafka.offset_fetch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata


def committed_answer(committed: Mapping[TopicPartition, OffsetAndMetadata]) -> Any:
    """The answer that these offsets are committed."""
    topics = [
        (tp.topic, [(tp.partition, each.offset, each.metadata, 0)])
        for tp, each in committed.items()
    ]
    return OffsetFetchResponse_v3(0, topics, 0)
