"""Every limit, in one place.

Nothing in the engine grows without a bound that stands here. `check()` holds the relations
between them; the worker calls it before anything else, so a careless edit fails at the start
and not under load. Sizes are in bytes, times in seconds.

What may wait in a worker, what holds it back, and what it may come to, compressed or as JSON. As
Python's objects, matches and changes take about four times as much.

| what | held back by | MiB |
|---|---|---|
| fetches, in aiokafka's buffer, Faust's and the agent's queue | FETCHED_BYTES | 64 |
| a response that a broker was asked for; for a moment three copies of it | FETCH_BYTES | 96 |
| a batch unpacked, the reads' and the lists'; gzip's is copied | BATCH_BYTES | 128 |
| rows of a scan, few of them as objects | BATCH_RECORDS, ROWS_A_STEP | 64 |
| what came of fetches: in delivery, and two more | FETCHES_IN_DELIVERY, OUTCOME_BYTES | 20 |
| its audit records, and the states of the suppression | with the above | 30 |
| batches in aiokafka's producer, two a partition, made of the above | SINK_BATCH_BYTES | 1 each |
| what suppression remembers; read back, as much again | SUPPRESSION_KEYS | 125 |
| control records, fetched and applied | CONTROL_BATCHES_A_STEP, CONTROL_STEP_BYTES | 32 |
| changes of the lists that are not audited | AUDIT_PENDING_CHANGES | 50 |
| entries, twice while a transaction replaces them | what is listed | |
| HTTP connections | HTTP_CONNECTIONS | 1 |

A response is larger than FETCH_BYTES where one batch is; there is one for each broker.
One read goes beyond OUTCOME_BYTES where very many entries list its plate. With delivery at least
once its matches go out piece by piece while it is still being matched; with exactly once they must
count together, and lie in memory together, some 5 KiB each.
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

#: A plate as it was read, before it is normalized; and a reference to a picture.
PLATE_TEXT_CHARACTERS: Final = 64
IMAGE_URI_CHARACTERS: Final = 2048
#: A message of a camera or of its vendor's service; many carry pictures, which we leave out.
INGEST_MESSAGE_BYTES: Final = 16 * MIB
#: Cars of which a camera is still telling, and how long after it has fallen silent about one.
CARS_HELD: Final = 10_000
CAR_SETTLES_S: Final = 10.0
#: `hotlist doctor`: reads that it looks at, how long it watches the lag, how many reads may wait
#: without that being called growing, and how far two clocks may be apart.
DOCTOR_READS: Final = 1000
DOCTOR_WATCH_S: Final = 3.0
DOCTOR_LAG_READS: Final = 10_000
CLOCK_SKEW_S: Final = 5.0
#: `hotlist ingest --listen`: messages in work at a time, how long one may take to be sent to us and
#: to be acknowledged, how long what comes together is gathered, and the shortest token.
INGEST_MESSAGES: Final = 64
INGEST_RECEIVE_S: Final = 30.0
INGEST_DELIVERY_S: Final = 15.0
INGEST_LINGER_MS: Final = 5
INGEST_TOKEN_CHARACTERS: Final = 16

#: Headers of a read that are looked at, where it makes a match. Of the trace that they name:
#: `traceparent`; `tracestate` as it comes, as it goes on with the match, and its members.
READ_HEADERS: Final = 64
TRACEPARENT_BYTES: Final = 512
TRACESTATE_BYTES: Final = 8 * KIB
TRACESTATE_CHARACTERS: Final = 512
TRACESTATE_MEMBERS: Final = 32

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
#: Records of one batch; each takes 64 bytes while it is scanned. A sound read has well over 64
#: bytes, so that a batch of reads meets BATCH_BYTES first.
BATCH_RECORDS: Final = MIB
#: Rows of a scan that become Python objects in one go.
ROWS_A_STEP: Final = 4096
#: Batches decompressed and scanned in one go, compressed. More of them save little and push each
#: other out of the processor's cache.
SCAN_BYTES: Final = 256 * KIB
#: Fetches that wait between the consumer thread and the matcher.
FETCHES_WAITING: Final = 4
#: What is fetched and not processed yet, compressed, wherever it waits: beyond it no more is
#: fetched. One response of each broker, which has been asked for already, may come on top.
FETCHED_BYTES: Final = 2 * FETCH_BYTES
#: Fetches whose matches are on their way to the broker while the next ones are scanned.
FETCHES_IN_DELIVERY: Final = 8
#: What a fetch may come to, about as much as it takes on the wire: matches, rejects, what is
#: remembered of them. Where there is more, it is processed in parts, each delivered by itself.
OUTCOME_BYTES: Final = 2 * MIB

#: Times that a batch with a wrong checksum is fetched again before it is passed as a reject.
CORRUPT_BATCH_FETCHES: Final = 3

#: Control batches fetched in one step, and records applied in one, so many or of so many bytes:
#: between two steps reads get their turn.
CONTROL_BATCHES_A_STEP: Final = 8
CONTROL_RECORDS_A_STEP: Final = 2048
CONTROL_STEP_BYTES: Final = 4 * MIB
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
RESTORE_S: Final = 90.0
RESTORED_A_STEP: Final = 4096
#: Sources that a metric names, the first that come; the others are counted together.
SOURCES_NAMED: Final = 1000
#: How long a delivery may take before the worker gives up and stops without a commit, so that
#: its reads are processed again.
DELIVERY_TIMEOUT_S: Final = 60.0
#: With delivery exactly once: how long the broker lets a transaction stay open before it aborts it.
#: After a crash readers see nothing that comes later for so long, where nobody takes over.
DELIVERY_TRANSACTION_S: Final = 75.0
#: After how long without anything to deliver a transactional id is used, for the broker forgets it
#: after some days (transactional.id.expiration.ms, 7 days).
TRANSACTIONAL_ID_S: Final = 12 * 3600.0
#: How long the group may take to rebalance after this worker has lost a partition to another.
FENCED_S: Final = 90.0
#: How long a transaction of a command may stay open. While it is, workers see no change of the
#: lists that comes after its beginning, even when the command is gone.
TRANSACTION_S: Final = 120.0
#: A sync that removes more than this share of a list, and more entries than this, is taken for
#: a file that was cut off.
SYNC_REMOVED_SHARE: Final = 0.5
SYNC_REMOVED_ENTRIES: Final = 100
#: How long a stopping worker waits for what is in flight.
SHUTDOWN_S: Final = 15.0
#: How long a last commit and the leaving of a group may take, each; and the whole end, whatever
#: the broker does. Whoever runs a worker must give it longer before killing it: Kubernetes waits
#: 30 s unless told otherwise.
LEAVE_S: Final = 2.0
END_S: Final = 25.0
#: The least time that a step of the end has, however long those before it took.
END_STEP_S: Final = 0.5
#: How often each consumer asks the brokers which partitions its topics have: the age that its
#: picture of the cluster may reach. Partitions that are added are found within three times that.
METADATA_MAX_AGE_S: Final = 10.0
#: How long a broker may take to say where a partition of the reads begins.
OFFSETS_MS: Final = 5000
#: How long declaring or checking topics may take in all, and the pause before topics are looked at
#: again.
ADMIN_S: Final = 20.0
ADMIN_PAUSE_S: Final = 0.05
#: How long each probe may take that finds out why no broker answers.
PROBE_S: Final = 3.0
#: How long a connection to the broker may take at the start.
CONNECT_S: Final = 10.0
#: How long one request of an administrator's client may take.
REQUEST_MS: Final = 5000
#: How long a command waits for its client to disconnect.
CLIENT_STOP_S: Final = 3.0
#: How long a consumer waits for records before its owner looks whether there is something else.
POLL_MS: Final = 200
#: How long to wait before a broker is asked again: after a failure, while a group's coordinator
#: loads, and while a broker has not heard yet of a topic.
RETRY_PAUSE_S: Final = 0.5
COORDINATOR_PAUSE_S: Final = 0.1
METADATA_PAUSE_S: Final = 0.01
#: How often a broker must say, one time after the other, that it does not know a control topic. One
#: that has just started may not know any.
GONE_LOOKS: Final = 3
#: How long a worker may be silent before the group gives its partitions to others: after a
#: crash its reads wait that long. It tells the broker that it lives every HEARTBEAT_S.
#: By the answer it hears that the group rebalances, and whoever has heard it takes no reads
#: until the last one has: HEARTBEAT_S is what a rolling restart costs, and a request is small.
SESSION_S: Final = 15.0
HEARTBEAT_S: Final = 0.3
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
#: After how long without a step forward a partition is stuck, how often it is looked, and after how
#: long a worker that may be what it is stuck at is to be started anew.
STUCK_S: Final = 30.0
STUCK_LOOK_S: Final = 1.0
HUNG_S: Final = 180.0

#: The HTTP port: connections at a time, how long each may last in all, the length of its request
#: line and of a header, and how many headers it may have. Whoever scrapes or probes needs a
#: fraction of that.
HTTP_CONNECTIONS: Final = 64
HTTP_CONNECTION_S: Final = 10.0
HTTP_LINE_BYTES: Final = 4 * KIB
HTTP_HEADERS: Final = 64
#: How long the port waits at the end for answers that are on their way.
HTTP_SHUTDOWN_S: Final = 1.0

#: Export of spans: how many may wait, how many go in one request, how often there is one, and how
#: long it may take, which the end of the worker may wait for too.
SPANS_WAITING: Final = 10_000
SPANS_A_REQUEST: Final = 512
SPAN_INTERVAL_S: Final = 1.0
SPAN_EXPORT_S: Final = 3.0

#: The status page: how often the counts of the whole worker are noted and for how long, the
#: stretches that its curve is drawn from, and the time that "now" is.
STATUS_SAMPLE_S: Final = 2.0
STATUS_KEPT_S: Final = 600.0
STATUS_POINT_S: Final = 10.0
STATUS_NOW_S: Final = 10.0
#: Partitions that it shows by name: those with the most reads waiting.
STATUS_PARTITIONS: Final = 24
#: The log: lines of one kind in LOG_WINDOW_S, kinds that are told apart, how often it is looked
#: whether there is something to tell of those that were held back.
LOG_LINES: Final = 10
LOG_WINDOW_S: Final = 60.0
LOG_KINDS: Final = 256
LOG_TELL_S: Final = 5.0
#: A line: characters of a text in it, members of a list, exceptions and what they came from, and
#: the places of each of their traces.
LOG_TEXT_CHARACTERS: Final = 500
LOG_MEMBERS: Final = 16
LOG_ERRORS: Final = 4
LOG_FRAMES: Final = 12
#: Kinds of faults since the start that the status page may show.
LOG_FAULTS: Final = 32


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
    assert DELIVERY_TIMEOUT_S < DELIVERY_TRANSACTION_S, "we give up before the broker does"
    assert DELIVERY_TRANSACTION_S < RESTORE_S, "a transaction nobody ends does not end a restore"
    assert SESSION_S + REBALANCE_S < FENCED_S, "the group has time to rebalance"
    assert 2 * SHUTDOWN_S <= REBALANCE_S, "handing over waits for what is in flight"
    assert 3 * HEARTBEAT_S <= SESSION_S, "one lost heartbeat must not cost the partitions"
    assert SHUTDOWN_S + 3 * LEAVE_S < END_S, "after what is in flight the groups are left"
    assert SHUTDOWN_S + 3 * LEAVE_S + SPAN_EXPORT_S < END_S, "then the last spans go out"
    assert SPANS_A_REQUEST < SPANS_WAITING, "some wait while others are sent"
    assert TRACESTATE_CHARACTERS <= TRACESTATE_BYTES, "what goes on has been looked at"
    assert LEAVE_S < SESSION_S, "who leaves tells the group before it finds out by itself"
    assert FORGET_INTERVAL_S <= FORGET_FREED_S, "what is freed is looked at once an interval"
    assert HTTP_SHUTDOWN_S < SHUTDOWN_S, "whoever probes must not delay the end"
    assert STATUS_POINT_S % STATUS_SAMPLE_S == 0, "a stretch is a number of samples"
    assert STATUS_KEPT_S >= 60, "the delay is that of the last minute"
    assert LOG_TELL_S < LOG_WINDOW_S, "what is held back is told soon after its time"
    assert 2 * FETCH_BYTES <= FETCHED_BYTES, "one is fetched while another one is processed"
    assert 64 * BATCH_RECORDS >= BATCH_BYTES, "sound reads meet the limit of bytes first"
    assert 2 * SINK_BATCH_BYTES <= OUTCOME_BYTES, "parts of a fetch fill whole batches"
    assert 8 * STUCK_LOOK_S <= STUCK_S, "what is stuck is found in time"
    assert 2 * CONTROL_STALE_S < STUCK_S, "the gate closes before partitions are called stuck"
    assert 3 * METADATA_MAX_AGE_S <= STUCK_S, "added partitions are found before reads are late"
    assert GONE_LOOKS * RETRY_PAUSE_S < CONTROL_STALE_S, "a topic that is gone is noticed in time"
    assert FETCH_WAIT_MS < 1000 * METADATA_MAX_AGE_S, "records come while the cluster is asked"
    assert 10 * COMMIT_INTERVAL_S <= STUCK_S, "an offset has time to be committed"
    assert STUCK_S < DELIVERY_TIMEOUT_S, "a stuck delivery is named before it ends the worker"
    assert SHUTDOWN_S < STUCK_S, "handing over is not being stuck"
    assert 2 * DELIVERY_TIMEOUT_S < HUNG_S, "what is not acknowledged has ended the worker by then"
    assert PLATE_BYTES >= PLATE_CHARACTERS, "a character takes at least a byte"
