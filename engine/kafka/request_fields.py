"""Fields of the requests that the engine defines because aiokafka does not have them.

Requests of Kafka's newer versions are compact: their texts are, and each structure ends with tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiokafka.protocol.types import CompactString, String, TaggedFields

TEXT: Final = String("utf-8")
COMPACT_TEXT: Final = CompactString("utf-8")
#: The last field of each structure, and its value if there are no tags.
TAGS: Final = ("tags", TaggedFields)
NO_TAGS: Final[Mapping[int, bytes]] = {}
