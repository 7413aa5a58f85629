"""The requests that the engine defines because aiokafka does not have them, and their fields.

Requests of Kafka's newer versions are compact: their texts are, and each structure ends with tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactString, Schema, String, TaggedFields

TEXT: Final = String("utf-8")
COMPACT_TEXT: Final = CompactString("utf-8")
#: The last field of each structure, and its value if there are no tags.
TAGS: Final = ("tags", TaggedFields)
NO_TAGS: Final[Mapping[int, bytes]] = {}


def define_request(key: int, version: int, *, asked: Schema, answered: Schema) -> Any:
    """Return the class of a request in one version, with its fields and those of its answer.

    An instance is made of its fields in order, and sent by an AIOKafkaClient.
    """

    class Answer(Response):  # type: ignore[misc]  # aiokafka has no types
        API_KEY = key
        API_VERSION = version
        SCHEMA = answered

    class Asked(RequestStruct):  # type: ignore[misc]
        FLEXIBLE_VERSION = TAGS[0] in asked.names
        API_KEY = key
        API_VERSION = version
        RESPONSE_TYPE = Answer
        SCHEMA = asked

    class Made(Request[Asked]):  # type: ignore[misc]
        API_KEY = key

        def __init__(self, *fields: Any) -> None:
            self._fields = fields

        def build(self, request_struct_class: type[Asked]) -> Asked:
            return request_struct_class(*self._fields)

    return Made
