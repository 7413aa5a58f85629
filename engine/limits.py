"""Every limit, in one place.

Nothing in the engine grows without a bound that stands here. `check()` holds the relations
between them; the worker calls it before anything else, so a careless edit fails at the start
and not under load. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

#: Characters of a normalized plate.
PLATE_CHARACTERS: Final = 16
#: UTF-8 bytes of a normalized plate: four for each character at the most.
PLATE_BYTES: Final = 4 * PLATE_CHARACTERS

#: A detection's JSON. Pictures travel as references, so real ones stay under 4 KiB.
READ_VALUE_BYTES: Final = 64 * KIB
#: What one partition may return for one fetch, compressed.
FETCH_PARTITION_BYTES: Final = 4 * MIB
#: What one fetch may return for all partitions, compressed.
FETCH_BYTES: Final = 32 * MIB
#: How long the broker may hold an idle fetch back.
FETCH_WAIT_MS: Final = 100
#: One record batch after decompression: the guard against decompression bombs. Kafka's own
#: default for a compressed batch is 1 MiB, and JSON seldom shrinks more than twentyfold.
BATCH_BYTES: Final = 64 * MIB
#: Batches decompressed and scanned in one go, compressed. More of them save little and push each
#: other out of the processor's cache.
SCAN_BYTES: Final = 256 * KIB
#: Fetches that wait between the consumer thread and the heart. With FETCH_PARTITION_BYTES this
#: bounds the memory that waiting reads can take.
FETCHES_WAITING: Final = 4
#: Fetches whose matches are on their way to the broker while the next ones are scanned.
FETCHES_IN_DELIVERY: Final = 8

#: Times that a batch with a wrong checksum is fetched again before it is passed as a reject.
CORRUPT_BATCH_FETCHES: Final = 3

#: Control batches applied in one step; between two steps reads get their turn.
CONTROL_BATCHES_A_STEP: Final = 8
#: How long a control partition may stay silent (the broker answers an idle fetch within
#: FETCH_WAIT_MS) before the worker stops taking reads.
CONTROL_STALE_S: Final = 10.0

#: One record of ours on the matches, rejects or audit topics.
SINK_BATCH_BYTES: Final = 512 * KIB
#: How long a delivery may take before the worker gives up and stops without a commit, so that
#: its reads are processed again.
DELIVERY_TIMEOUT_S: Final = 60.0
#: How long a stopping worker waits for what is in flight.
SHUTDOWN_S: Final = 20.0
#: How long a connection to the broker may take at the start.
CONNECT_S: Final = 10.0
#: How long a worker may be silent before the group gives its partitions to others: after a
#: crash its reads wait that long. It tells the broker that it lives every HEARTBEAT_S.
SESSION_S: Final = 15.0
HEARTBEAT_S: Final = 3.0
#: How often entries are started and ended while no reads come.
EXPIRY_INTERVAL_S: Final = 1.0
#: How long the group waits for a worker to hand over its partitions, with what is in flight.
REBALANCE_S: Final = 60.0
#: How often delivered offsets are committed.
COMMIT_INTERVAL_S: Final = 1.0


def check() -> None:
    """Raise AssertionError where two limits contradict each other."""
    assert READ_VALUE_BYTES < BATCH_BYTES, "a batch must hold a read"
    assert FETCH_PARTITION_BYTES <= FETCH_BYTES, "a fetch must hold a partition's share"
    assert 2 * READ_VALUE_BYTES < SINK_BATCH_BYTES, "a match holds its read and its entry"
    assert 10 * FETCH_WAIT_MS <= 1000 * CONTROL_STALE_S, "silence is more than an idle fetch"
    assert 2 * SHUTDOWN_S <= REBALANCE_S, "handing over waits for what is in flight"
    assert 3 * HEARTBEAT_S <= SESSION_S, "one lost heartbeat must not cost the partitions"
    assert PLATE_BYTES >= PLATE_CHARACTERS, "a character takes at least a byte"
