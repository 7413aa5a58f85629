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
#: Alternates that the header of a read may name.
ALTERNATES: Final = 16

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

#: Control batches fetched in one step, and records applied in one: between two steps reads get
#: their turn.
CONTROL_BATCHES_A_STEP: Final = 8
CONTROL_RECORDS_A_STEP: Final = 2048
#: Headers of a control record that are looked at, and bytes of an operator's name.
CONTROL_HEADERS: Final = 64
OPERATOR_BYTES: Final = 512
#: Entries that have ended and are forgotten in one step, and filed times that are looked at.
SLOTS_A_DROP: Final = 2048
SLOTS_A_TIDYING: Final = 64 * KIB
#: How long a control partition may stay silent (the broker answers an idle fetch within
#: FETCH_WAIT_MS) before the worker stops taking reads.
CONTROL_STALE_S: Final = 10.0

#: One record of ours on the matches, rejects or audit topics.
SINK_BATCH_BYTES: Final = 512 * KIB
#: An audit record: characters of its chain's id and of a field's text, and how many fields.
AUDIT_CHAIN_CHARACTERS: Final = 128
AUDIT_FIELD_CHARACTERS: Final = 2000
AUDIT_FIELDS: Final = 32
#: How far behind the end of a partition an audit record is known again when it comes twice: a
#: batch is sent again after a lost acknowledgement, and comes soon.
AUDIT_REPEAT_RECORDS: Final = 32 * 1024
#: Gaps of one chain that are watched for records that come late.
AUDIT_GAPS: Final = 64
#: Problems of the audit that are kept to be shown; all are counted.
AUDIT_PROBLEMS: Final = 1000
#: Different events of which a report keeps eight bytes each, so that none is counted twice, and
#: the lines that it may come to.
REPORT_EVENTS: Final = 100_000_000
REPORT_GROUPS: Final = 100_000
#: A checkpoint: some hundred bytes for each chain that there ever was.
CHECKPOINT_BYTES: Final = 256 * MIB
#: What is sealed and sent at a time of a worker's chain.
AUDIT_BATCH_BYTES: Final = 384 * KIB
#: Changes of the lists that wait for the audit before no more are applied: about a kilobyte
#: each, and what a bulk change may bring while the audit is handed from worker to worker.
AUDIT_PENDING_CHANGES: Final = 50_000
#: Changes that are audited at a time; after them it is committed that they are.
AUDIT_STEP_CHANGES: Final = 5_000
#: How often a worker looks which of the changes that it keeps another one has audited.
AUDIT_LOOK_S: Final = 1.0
#: Suppression: how much later than a match a read that it folds may reach the topic, beside the
#: entry's own time; a key is forgotten after twice that.
SUPPRESSION_LATE_S: Final = 3600
#: Matches of one key and partition that a late read is compared with, and that are kept at the
#: most while their reads may come again; each takes 32 bytes of memory and 80 of the changelog.
SUPPRESSION_MATCHES: Final = 64
SUPPRESSION_MATCHES_MOST: Final = 4096
#: Keys that a worker remembers, about half a kilobyte each; of how many of the oldest one goes
#: when there is no room; and how many are looked at every second, whether they have ended.
SUPPRESSION_KEYS: Final = 250_000
SUPPRESSION_KEYS_COMPARED: Final = 8
SUPPRESSION_KEYS_A_STEP: Final = 1024
#: How long a partition's state may take to be read from the changelog, and keys taken over in
#: one step, between which control records get their turn.
RESTORE_S: Final = 60.0
RESTORED_A_STEP: Final = 4096
#: Sources that a metric names, the first that come; the others are counted together.
SOURCES_NAMED: Final = 1000
#: How long a delivery may take before the worker gives up and stops without a commit, so that
#: its reads are processed again.
DELIVERY_TIMEOUT_S: Final = 60.0
#: How long a transaction of a command may stay open. While it is, workers see no change of the
#: lists that comes after its beginning, even when the command is gone.
TRANSACTION_S: Final = 120.0
#: A sync that removes more than this share of a list, and more entries than this, is taken for
#: a file that was cut off.
SYNC_REMOVED_SHARE: Final = 0.5
SYNC_REMOVED_ENTRIES: Final = 100
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
#: How often the buffers that are used again are wiped; and how often at the latest, while the
#: reads do not pause, what else they have left in memory. The latter holds every thread that
#: wants memory up, so that more often would show among the longest one in a hundred delays.
FORGET_INTERVAL_S: Final = 1.0
FORGET_FREED_S: Final = 60.0
#: How long the group waits for a worker to hand over its partitions, with what is in flight.
REBALANCE_S: Final = 60.0
#: How often delivered offsets are committed.
COMMIT_INTERVAL_S: Final = 1.0

#: The HTTP port: connections at a time, how long each may last in all, the length of its request
#: line and of a header, and how many headers it may have. Whoever scrapes or probes needs a
#: fraction of that.
HTTP_CONNECTIONS: Final = 64
HTTP_CONNECTION_S: Final = 10.0
HTTP_LINE_BYTES: Final = 4 * KIB
HTTP_HEADERS: Final = 64
#: How long the port waits at the end for answers that are on their way.
HTTP_SHUTDOWN_S: Final = 1.0


def check() -> None:
    """Raise AssertionError where two limits contradict each other."""
    assert READ_VALUE_BYTES < BATCH_BYTES, "a batch must hold a read"
    assert FETCH_PARTITION_BYTES <= FETCH_BYTES, "a fetch must hold a partition's share"
    assert 2 * READ_VALUE_BYTES < SINK_BATCH_BYTES, "a match holds its read and its entry"
    assert AUDIT_BATCH_BYTES < SINK_BATCH_BYTES, "what is sealed at a time is one batch"
    assert 2 * AUDIT_STEP_CHANGES <= AUDIT_PENDING_CHANGES, "applying goes on beside the audit"
    assert SUPPRESSION_MATCHES_MOST % SUPPRESSION_MATCHES == 0, "matches go in steps"
    assert 128 * SUPPRESSION_MATCHES_MOST < 2 * SINK_BATCH_BYTES, "a key's state is a record"
    assert 2 * SUPPRESSION_KEYS_COMPARED < SUPPRESSION_KEYS, "room is found among the oldest"
    assert AUDIT_LOOK_S < CONTROL_STALE_S, "others learn what is audited before they wait long"
    assert 10 * FETCH_WAIT_MS <= 1000 * CONTROL_STALE_S, "silence is more than an idle fetch"
    assert DELIVERY_TIMEOUT_S < TRANSACTION_S, "a late delivery is not yet a late transaction"
    assert 2 * SHUTDOWN_S <= REBALANCE_S, "handing over waits for what is in flight"
    assert 3 * HEARTBEAT_S <= SESSION_S, "one lost heartbeat must not cost the partitions"
    assert FORGET_INTERVAL_S <= FORGET_FREED_S, "what is freed is looked at once an interval"
    assert HTTP_SHUTDOWN_S < SHUTDOWN_S, "whoever probes must not delay the end"
    assert PLATE_BYTES >= PLATE_CHARACTERS, "a character takes at least a byte"
