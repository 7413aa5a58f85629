"""Every limit, in one place. Long because each limit is here, beside its reason.

Nothing in the engine grows without a bound that is defined here. `check()` asserts the relations
between them; the worker calls it before anything else, so a careless edit fails at the start
and not under load. Sizes are in bytes, times in seconds.

What may wait in a worker, which limit bounds it, and its largest size, compressed or as JSON. As
Python's objects, matches and changes take about four times as much.

| what | bounded by | MiB |
|---|---|---|
| fetches, in aiokafka's buffer, Faust's and the agent's queue | FETCHED_BYTES | 64 |
| a response from a broker; for a moment three copies of it | FETCH_BYTES | 96 |
| an unpacked batch, of reads and of the lists; gzip's is copied | BATCH_BYTES | 128 |
| groups of batches unpacked ahead, and the one in process | GROUPS_AHEAD, AHEAD_BYTES | 48 |
| the rows of their scans | GROUPS_AHEAD, AHEAD_RECORDS | 12 |
| rows of a scan, and of the reads that it found | BATCH_RECORDS, ROWS_A_STEP | 64 |
| the outcomes of fetches: in delivery, and two more | FETCHES_IN_DELIVERY, OUTCOME_BYTES | 20 |
| their audit records, and the suppression's states | with the above | 30 |
| batches in aiokafka's producer, two a partition, made of the above | SINK_BATCH_BYTES | 1 each |
| the suppression's keys; while they are restored, twice as much | SUPPRESSION_KEYS | 150 |
| control records, fetched and applied | LOAD_BATCHES_A_STEP, LOAD_STEP_BYTES | 40 |
| changes of the lists that are not audited | AUDIT_PENDING_CHANGES | 50 |
| entries that a first load added and that are not audited, 32 bytes each | the lists | |
| entries, twice while a transaction replaces them | the lists | |
| entries that were matched lately, opened and written; free text on top | ENTRIES_KEPT_OPEN | 36 |
| what compiled code puts matches together from, and the matches | READY_BYTES, ROWS_A_STEP | 54 |
| HTTP connections | HTTP_CONNECTIONS | 1 |

A response is larger than FETCH_BYTES if one batch is; there is one for each broker.
One read exceeds OUTCOME_BYTES if very many entries list its plate. With delivery at least once its
matches are sent in pieces while it is still being matched. With exactly once they must count
together, and are in memory together, some 5 KiB each.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

#: Characters of a normalized plate.
PLATE_CHARACTERS: Final = 16
#: UTF-8 bytes of a normalized plate: at most four for each character.
PLATE_BYTES: Final = 4 * PLATE_CHARACTERS
#: Alternates that the header of a read may have.
ALTERNATES: Final = 16

#: A plate as it was read, before it is normalized; and a reference to a picture.
PLATE_TEXT_CHARACTERS: Final = 64
IMAGE_URI_CHARACTERS: Final = 2048
#: A message of a camera or of its vendor's service; many contain pictures, which we ignore.
INGEST_MESSAGE_BYTES: Final = 16 * MIB
#: Cars that cameras still report, how long after its last report a car counts as gone, and how
#: often that is checked.
CARS_HELD: Final = 10_000
CAR_SETTLES_S: Final = 10.0
CAR_LOOK_S: Final = 1.0
#: How many reads of a fetch are opened to see what producers get wrong, and how often on each
#: partition.
LOOK_READS: Final = 64
LOOK_S: Final = 10.0
#: `hotlist doctor`: reads that it examines, how long it watches the lag, how many reads may wait
#: before the lag counts as growing, and how far two clocks may differ.
DOCTOR_READS: Final = 1000
DOCTOR_WATCH_S: Final = 3.0
DOCTOR_LAG_READS: Final = 10_000
#: How long one of its checks may take.
DOCTOR_CHECK_S: Final = 20.0
#: How long `hotlist tail` waits for a match before it says why none comes.
TAIL_SILENCE_S: Final = 10.0
CLOCK_SKEW_S: Final = 5.0
#: `hotlist ingest --listen`: messages in work at a time, how long receiving one may take and how
#: long its acknowledgement, how long records are gathered, and the shortest token.
INGEST_MESSAGES: Final = 64
INGEST_RECEIVE_S: Final = 30.0
INGEST_DELIVERY_S: Final = 15.0
INGEST_LINGER_MS: Final = 5
#: Its connections without a token: how many, in all and from one address, and how long each may
#: take to send its request's head. Those with the token beside them: how many, and how long one may
#: be idle.
INGEST_STRANGERS: Final = 64
INGEST_STRANGERS_A_PEER: Final = 32
INGEST_STRANGER_S: Final = 10.0
INGEST_SENDERS: Final = 128
INGEST_IDLE_S: Final = 60.0
INGEST_TOKEN_CHARACTERS: Final = 16
#: Fields of a form that are looked at, and messages that one request may have.
INGEST_FORM_FIELDS: Final = 32
INGEST_FORM_MESSAGES: Final = 64
#: Fields that a form or a query may have whose fields a mapping names.
INGEST_MAPPED_FIELDS: Final = 256
#: A read's record: its value, and as much again for its key, its headers and Kafka's framing, which
#: repeat parts of it.
INGEST_RECORD_BYTES: Final = 128 * KIB
#: How many days before a certificate expires there is a warning.
CERTIFICATE_DAYS: Final = 30
#: Nonces of HTTP Digest: how long each is valid and for how many requests, and how many that were
#: used are remembered.
INGEST_NONCE_S: Final = 300.0
INGEST_NONCE_USES: Final = 10_000
INGEST_NONCES: Final = 1024
#: Reads of senders that never send again: how many are held and how many bytes, how many the
#: producer has at a time, and how long a shutdown waits for the broker.
INGEST_SPOOL_READS: Final = 100_000
INGEST_SPOOL_BYTES: Final = 64 * MIB
INGEST_SPOOL_IN_FLIGHT: Final = 256
INGEST_DRAIN_S: Final = 15.0
#: How long after a delivery that failed the endpoint says that it is not ready.
INGEST_FAILED_S: Final = 15.0
#: `hotlist ingest --mqtt`: how long the MQTT broker keeps the session of a process that is away,
#: the keep-alive, and the pauses before it connects again, which double.
MQTT_SESSION_S: Final = 7 * 86_400
MQTT_KEEPALIVE_S: Final = 30
MQTT_RETRY_S: Final = 1.0
MQTT_RETRY_MOST_S: Final = 30.0
#: Header fields of Digest: how long one may be.
INGEST_DIGEST_CHARACTERS: Final = 2048

#: Tokens for the brokers: how long an answer of the token endpoint may take and how large it may
#: be, the lifetime of one that names none, after what share of it a token is renewed, and how soon
#: that is tried again.
TOKEN_FETCH_S: Final = 10.0
TOKEN_BYTES: Final = 64 * KIB
TOKEN_LIFE_S: Final = 300.0
TOKEN_RENEW_SHARE: Final = 0.8
TOKEN_RETRY_S: Final = 10.0

#: Headers of a read that are examined if it makes a match. Of the trace in them:
#: `traceparent`; `tracestate` as received, as passed on with the match, and its members.
READ_HEADERS: Final = 64
TRACEPARENT_BYTES: Final = 512
TRACESTATE_BYTES: Final = 8 * KIB
TRACESTATE_CHARACTERS: Final = 512
TRACESTATE_MEMBERS: Final = 32

#: A detection's JSON. Pictures travel as references, so real ones stay under 4 KiB.
READ_VALUE_BYTES: Final = 64 * KIB
#: A value in Avro or Protobuf: how deep it may be nested, as the types of its schema may, and how
#: many fields and items one in Avro may have in all. A read has about sixty.
VALUE_DEPTH: Final = 32
AVRO_PARTS: Final = 32_768
#: The schema registry: an answer, the schemas that one refers to, the schemas that are kept, and
#: for how long its word counts that it does not have a schema.
SCHEMA_BYTES: Final = 512 * KIB
SCHEMA_REFERENCES: Final = 32
SCHEMAS: Final = 1024
SCHEMA_UNKNOWN_S: Final = 30.0
#: How long an answer may take, and the pauses before the registry is asked again, which double.
SCHEMA_FETCH_S: Final = 10.0
SCHEMA_RETRY_S: Final = 0.5
SCHEMA_RETRY_MOST_S: Final = 10.0
#: How many schemas `hotlist doctor` asks for, and how many redirects are followed.
DOCTOR_SCHEMAS: Final = 16
SCHEMA_REDIRECTS: Final = 3
#: What one partition may return for one fetch, compressed. With 2 MiB a worker drains a fifth
#: slower, because the matcher's thread waits for the event loop after each fetch.
FETCH_PARTITION_BYTES: Final = 4 * MIB
#: What one fetch may return for all partitions, compressed.
FETCH_BYTES: Final = 32 * MIB
#: How long the broker may delay the answer to an idle fetch.
FETCH_WAIT_MS: Final = 100
#: One record batch after decompression: the guard against decompression bombs. Kafka's own
#: default for a compressed batch is 1 MiB, and JSON seldom shrinks more than twentyfold.
BATCH_BYTES: Final = 64 * MIB
#: Records of one batch; each takes 64 bytes while it is scanned. A sound read has well over 64
#: bytes, so that a batch of reads meets BATCH_BYTES first.
BATCH_RECORDS: Final = MIB
#: Entries that were matched lately and are kept open: a vehicle that is seen once is seen again.
ENTRIES_KEPT_OPEN: Final = 24_576
#: What compiled code puts matches together from: entries, sources with a policy and without, what
#: the policies say of agencies and purposes, these, and what came of comparing vehicles. Then the
#: texts of the lists, and those of the last reads.
READY_ENTRIES: Final = 65_536
READY_SOURCES: Final = 1024
READY_TERMS: Final = 16_384
READY_PAIRS: Final = 256
READY_COMPARISONS: Final = 1024
READY_BYTES: Final = 32 * MIB
READY_READS_BYTES: Final = MIB
#: How long what is ready of the lists is kept at least, once there is no more room: dropped sooner,
#: it would be made again and again.
READY_S: Final = 60
#: Rows of a scan whose reads are written again at a time. Python decides fewer than ROWS_FEWEST
#: sooner than compiled code does, and also decodes fewer than PLAIN_ROWS_FEWEST sooner.
ROWS_A_STEP: Final = 4096
ROWS_FEWEST: Final = 16
PLAIN_ROWS_FEWEST: Final = 8
#: Batches decompressed and scanned at a time, compressed: each time, a thread waits for the GIL.
SCAN_BYTES: Final = MIB
#: Groups of batches that are decompressed and scanned ahead, and the largest size and number of
#: records of each.
GROUPS_AHEAD: Final = 2
AHEAD_BYTES: Final = 16 * MIB
AHEAD_RECORDS: Final = 65_536
#: How long a thread waits for the GIL before it asks for it. The matcher's thread needs it for some
#: microseconds after each compiled part. With Python's own 5 ms it stood still for a third of the
#: time, behind the threads of the event loops.
GIL_WAIT_S: Final = 0.0002
#: Fetches that wait between the consumer thread and the matcher.
FETCHES_WAITING: Final = 4
#: What is fetched and not processed yet, compressed, wherever it waits: beyond it, fetching pauses.
#: One response of each broker, which was already requested, may come on top.
FETCHED_BYTES: Final = 2 * FETCH_BYTES
#: How soon a fetcher that has no room checks for room again.
FETCH_LOOK_S: Final = 0.02
#: Fetches, of different partitions, that are with the matcher: its thread takes the next one while
#: the event loop handles what came of the last.
FETCHES_IN_PROCESS: Final = 2
#: Fetches whose matches are in flight to the broker while the next ones are scanned.
FETCHES_IN_DELIVERY: Final = 8
#: The outcome of a fetch, in about the size it has on the wire: matches, rejects, suppression
#: states. A larger outcome is processed in parts, each delivered separately.
OUTCOME_BYTES: Final = 2 * MIB

#: Times that a batch with a wrong checksum is fetched again before it is rejected and skipped.
CORRUPT_BATCH_FETCHES: Final = 3

#: Control batches fetched in one step, and records applied in one, by number and by bytes:
#: between two steps reads are processed.
CONTROL_BATCHES_A_STEP: Final = 8
CONTROL_RECORDS_A_STEP: Final = 2048
CONTROL_STEP_BYTES: Final = 4 * MIB
#: The same while the lists are loaded, and no reads wait for a turn.
LOAD_BATCHES_A_STEP: Final = 32
LOAD_RECORDS_A_STEP: Final = 16_384
LOAD_STEP_BYTES: Final = 8 * MIB
#: Headers of a control record that are examined, and bytes of an operator's name.
CONTROL_HEADERS: Final = 64
OPERATOR_BYTES: Final = 512
#: How much later than its record an entry may claim to have been created: clocks differ.
CREATED_AHEAD_MS: Final = 5 * 60_000
#: Expired entries that are evicted in one step, and filed times that are examined.
SLOTS_A_DROP: Final = 2048
SLOTS_A_TIDYING: Final = 64 * KIB
#: How long a control partition may stay silent (the broker answers an idle fetch within
#: FETCH_WAIT_MS) before the worker stops taking reads.
CONTROL_STALE_S: Final = 10.0

#: An Excel workbook with a hot list, unpacked: all of it, and what is held in memory at once. A
#: larger list is to be saved as CSV, which has no limit.
XLSX_BYTES: Final = 128 * MIB
XLSX_TEXT_BYTES: Final = 32 * MIB
XLSX_PARTS: Final = 10_000
#: As many rows as Excel has, and more columns than a list.
XLSX_ROWS: Final = 1_048_576
XLSX_COLUMNS: Final = 256

#: One record of ours on the matches, rejects or audit topics.
SINK_BATCH_BYTES: Final = 512 * KIB
#: An audit record: characters of its chain's id and of a field's text, and how many fields.
AUDIT_CHAIN_CHARACTERS: Final = 128
AUDIT_FIELD_CHARACTERS: Final = 2000
AUDIT_FIELDS: Final = 32
#: How far behind the end of a partition a repeated audit record is recognized: a batch is sent
#: again after a lost acknowledgement, and comes soon.
AUDIT_REPEAT_RECORDS: Final = 32 * 1024
#: Gaps of one chain that may still be filled by late records.
AUDIT_GAPS: Final = 64
#: Problems of the audit that are kept to be shown; all are counted.
AUDIT_PROBLEMS: Final = 1000
#: Distinct events in a report, which keeps eight bytes of each so that none is counted twice, and
#: its largest number of lines.
REPORT_EVENTS: Final = 100_000_000
REPORT_GROUPS: Final = 100_000
#: How far a broker's time of an audit record may be before the record's own, when a report searches
#: for its period. A record is sent after it was made, so this only needs to cover clocks that were
#: set back.
AUDIT_SLACK_MS: Final = 3_600_000
#: Records of each of the two topics that `audit verify --matches` compares in one pass; more take
#: further passes.
MATCHES_COMPARED: Final = 8_000_000
#: How long before it begins a chain may have searched for the record that it names, which is the
#: last one on the topic.
AUDIT_EXPECTED_S: Final = 5.0
#: How often a worker with a key writes a checkpoint of its chains, while they grow.
CHECKPOINT_S: Final = 60.0
#: A checkpoint: some hundred bytes for each chain that ever existed.
CHECKPOINT_BYTES: Final = 256 * MIB
#: How much of a worker's chain is sealed and sent at a time.
AUDIT_BATCH_BYTES: Final = 384 * KIB
#: Changes of the lists that may wait for the audit before applying pauses: about a kilobyte
#: each, and what a bulk change may bring while the audit moves from worker to worker.
AUDIT_PENDING_CHANGES: Final = 50_000
#: Changes that are audited at a time; after them their offset is committed.
AUDIT_STEP_CHANGES: Final = 5_000
#: How often a worker checks which of its pending changes another one has audited.
AUDIT_LOOK_S: Final = 1.0
#: Suppression: how much later than a match a read that it suppresses may reach the topic, beside
#: the entry's own time; a key is evicted after twice that.
SUPPRESSION_LATE_S: Final = 3600
#: Matches of one key and partition that a late read is compared with, and the most that are kept
#: while their reads may come again; each takes 40 bytes of memory and some 130 of the changelog.
SUPPRESSION_MATCHES: Final = 64
SUPPRESSION_MATCHES_MOST: Final = 4096
#: Keys that a worker holds, about half a kilobyte each; among how many of the oldest one is evicted
#: if there is no room; and how many are checked every second for having ended.
SUPPRESSION_KEYS: Final = 250_000
SUPPRESSION_KEYS_COMPARED: Final = 8
SUPPRESSION_KEYS_A_STEP: Final = 1024
#: How long restoring a partition's state from the changelog may take, and keys restored in one
#: step of some milliseconds. Between two steps control records are applied, and reads of the
#: partitions that are restored already are matched.
RESTORE_S: Final = 90.0
RESTORED_A_STEP: Final = 512
#: How long the state of a revoked partition is kept in case it comes back: a rolling restart takes
#: each worker less. And how old records may be from which a kept state is brought up to date: the
#: broker may remove tombstones that are older than `delete.retention.ms`, which is an hour.
SUPPRESSION_KEPT_S: Final = 300.0
SUPPRESSION_KNOWN_S: Final = 1800.0
#: Sources that a metric names, the first that come; the others are counted together.
SOURCES_NAMED: Final = 1000
#: How long a delivery may take before the worker gives up and stops without a commit, so that
#: its reads are processed again.
DELIVERY_TIMEOUT_S: Final = 60.0
#: With delivery exactly once: how long the broker lets a transaction stay open before it aborts it.
#: After a crash readers see no later records for so long, unless another worker takes over.
DELIVERY_TRANSACTION_S: Final = 75.0
#: How soon a transactional producer retries. A broker that has not finished the last transaction
#: answers one batch in fifty of the next with "not enough replicas", and finishes a moment later.
#: The usual tenth of a second would delay one match in a hundred that long.
TRANSACTION_BACKOFF_MS: Final = 20
#: While a partition has so many reads left, a transaction takes what came of TRANSACTION_FETCHES of
#: its fetches, and waits so long for it. Most of what a transaction costs, here and on the brokers,
#: is the same whatever it holds, and matches of reads that have waited can wait that much longer.
BACKLOG_READS: Final = 10_000
TRANSACTION_FETCHES: Final = 2
TRANSACTION_GATHER_S: Final = 0.2
#: After how long without a delivery a transactional id is used, because the broker expires it
#: after some days (transactional.id.expiration.ms, 7 days).
TRANSACTIONAL_ID_S: Final = 12 * 3600.0
#: How long the group may take to rebalance after this worker has lost a partition to another.
FENCED_S: Final = 90.0
#: A broker that gives records an earlier time than this day of 2001 has no clock, such as the
#: embedded one.
CLOCKS_BEGIN_MS: Final = 1_000_000_000_000
#: How long the transaction of a command may stay open. While it is, workers see no change of the
#: lists that comes after its beginning, even if the command has ended.
TRANSACTION_S: Final = 120.0
#: A sync with more changes may have longer: a second for so many of them, an eighth of what was
#: measured on a busy machine. And the time that brokers allow if they are not set up otherwise
#: (transaction.max.timeout.ms).
TRANSACTION_RECORDS_A_S: Final = 2_000.0
BROKERS_TRANSACTION_S: Final = 900.0
#: How long a command waits until its change counts, while a transaction before it is open.
READABLE_S: Final = 15.0
#: A sync that removes this share of a list or more, and at least so many entries, indicates a file
#: that was cut off.
SYNC_REMOVED_SHARE: Final = 0.1
SYNC_REMOVED_ENTRIES: Final = 5
#: Removed entries whose terms a command holds, 52 bytes each and twice that while it reads on.
REMOVED_TERMS: Final = 1 << 20
#: How long a stopping worker waits for what is in flight.
SHUTDOWN_S: Final = 15.0
#: How long a last commit and the leaving of a group may take, each; and the whole shutdown,
#: whatever the broker does. A supervisor must wait longer before it kills the worker: Kubernetes
#: waits 30 s by default.
LEAVE_S: Final = 2.0
#: How often a stopping worker checks whether what is in flight is done.
ACK_LOOK_S: Final = 1.0
#: How often the leaving of a group checks whether it is done.
LEAVE_LOOK_S: Final = 0.01
#: How often a partition that is to be revoked is checked for whether it is drained.
DRAIN_LOOK_S: Final = 0.01
END_S: Final = 25.0
#: The least time that a step of the end has, however long those before it took.
END_STEP_S: Final = 0.5
#: How often each consumer asks the brokers which partitions its topics have: the age that its
#: picture of the cluster may reach. Partitions that are added are found within three times that.
METADATA_MAX_AGE_S: Final = 10.0
#: How often a worker asks the brokers where the logs that it reads end; and for how long an open
#: transaction may hold records back before the worker logs it.
LAG_LOOK_S: Final = 5.0
HELD_BACK_S: Final = 10.0
#: How long a broker may take to say where a partition of the reads begins.
OFFSETS_MS: Final = 5000
#: A topic that keeps its records for longer keeps them for ever.
RETENTION_MOST_MS: Final = 100 * 365 * 24 * 3_600_000
#: How long declaring or checking topics may take in all, and the pause before topics are looked at
#: again.
ADMIN_S: Final = 20.0
ADMIN_PAUSE_S: Final = 0.05
#: How long each probe may take that finds out why no broker answers.
PROBE_S: Final = 3.0
#: Pause before the second probe of a broker that closed the connection: it may be going down.
PROBE_AGAIN_S: Final = 1.0
#: How long a connection to the broker may take at the start.
CONNECT_S: Final = 10.0
#: How long one request of an administrator's client may take.
REQUEST_MS: Final = 5000
#: How long a command waits for its client to disconnect.
CLIENT_STOP_S: Final = 3.0
#: `hotlist replay --rate` sends what it has at least this often; `hotlist traffic` reports how many
#: reads it has sent this often.
REPLAY_STEP_S: Final = 0.02
TRAFFIC_REPORT_S: Final = 10.0
#: How long a consumer waits for records before its owner checks for other work.
POLL_MS: Final = 200
#: How often a reading up to an offset checks whether it is there. The end of a transaction moves
#: the position and is no record, so that no fetch returns because of it.
READ_LOOK_MS: Final = 20
#: How long to wait before a broker is asked again: after a failure, while a group's coordinator
#: loads, and while a broker does not know a new topic yet.
RETRY_PAUSE_S: Final = 0.5
COORDINATOR_PAUSE_S: Final = 0.1
METADATA_PAUSE_S: Final = 0.01
#: How many times in a row a broker must say that it does not know a control topic. One that has
#: just started may not know any.
GONE_LOOKS: Final = 3
#: How long a worker may be silent before the group gives its partitions to others: after a
#: crash its reads wait that long. It tells the broker that it lives every HEARTBEAT_S.
#: The response announces a rebalance, and what moves waits until the last member knows of it. So
#: such a partition waits up to HEARTBEAT_S in each of two rebalances; a request is small.
SESSION_S: Final = 15.0
HEARTBEAT_S: Final = 0.1
#: The same for a static member, which does not leave when it stops: a restart fits in it.
STATIC_SESSION_S: Final = 60.0
#: How often entries are started and ended while no reads come.
EXPIRY_INTERVAL_S: Final = 1.0
#: How often the reused buffers are wiped; and the longest time between two scrubs of freed memory
#: while the reads do not pause. Such a scrub blocks every thread that allocates memory, so more
#: of them would show among the longest one in a hundred delays.
SCRUB_INTERVAL_S: Final = 1.0
SCRUB_FREED_S: Final = 60.0
#: How long the group waits for a worker to give back its partitions, with what is in flight.
REBALANCE_S: Final = 60.0
#: How long a worker that hears of a rebalance goes on revoking what moves before it joins: about
#: what one more rebalance would take. Its heartbeats pause meanwhile.
REVOKED_FIRST_S: Final = 0.5
#: How often delivered offsets are committed.
COMMIT_INTERVAL_S: Final = 1.0
#: After how long without progress a partition is stuck, how often that is checked, and after how
#: long a worker that may be the cause should be restarted.
STUCK_S: Final = 30.0
STUCK_LOOK_S: Final = 1.0
HUNG_S: Final = 180.0

#: The worker's HTTP port: connections at a time, in all and from one address, and how long each may
#: last in all. A scrape or a probe needs a fraction of that.
HTTP_CONNECTIONS: Final = 64
HTTP_CONNECTIONS_A_PEER: Final = 32
HTTP_CONNECTION_S: Final = 10.0
#: Every HTTP port: the length of a request's line and of a header, how many headers it may have,
#: how many connections wait to be accepted, and the pause after one cannot be.
HTTP_LINE_BYTES: Final = 4 * KIB
HTTP_HEADERS: Final = 64
ACCEPT_BACKLOG: Final = 128
ACCEPT_PAUSE_S: Final = 0.1
#: How long the port waits at shutdown for answers that are being sent.
HTTP_SHUTDOWN_S: Final = 1.0

#: Export of spans: how many may wait, how many go in one request, how often there is one, and how
#: long it may take, which may also delay the worker's shutdown.
SPANS_WAITING: Final = 10_000
SPANS_A_REQUEST: Final = 512
SPAN_INTERVAL_S: Final = 1.0
SPAN_EXPORT_S: Final = 3.0

#: The status page: how often the counts of the whole worker are sampled and how long they are
#: kept, the stretches of its curve, and the time that "now" covers.
STATUS_SAMPLE_S: Final = 2.0
STATUS_KEPT_S: Final = 600.0
STATUS_POINT_S: Final = 10.0
STATUS_NOW_S: Final = 10.0
#: Partitions that it shows by name: those with the most reads waiting.
STATUS_PARTITIONS: Final = 24
#: The log: lines of one kind in LOG_WINDOW_S, the number of distinct kinds, and how often the
#: number of held-back lines is checked.
LOG_LINES: Final = 10
LOG_WINDOW_S: Final = 60.0
LOG_KINDS: Final = 256
LOG_TELL_S: Final = 5.0
#: A line: characters of a text in it, members of a list, exceptions with their causes, and
#: the frames of each of their traces.
LOG_TEXT_CHARACTERS: Final = 500
LOG_MEMBERS: Final = 16
LOG_ERRORS: Final = 4
LOG_FRAMES: Final = 12
#: Kinds of faults since the start that the status page may show.
LOG_FAULTS: Final = 32


def size_text(size_bytes: int) -> str:
    """Return a size in the unit in which people read it."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit:
            return f"{round(size_bytes / unit, 1):g} {name}"
    return f"{size_bytes} bytes"


def check() -> None:
    """Raise AssertionError if two limits contradict each other."""
    assert 2 * READ_VALUE_BYTES <= INGEST_RECORD_BYTES, "a read's record holds its value and more"
    assert READ_VALUE_BYTES < BATCH_BYTES, "a batch must hold a read"
    assert AHEAD_BYTES <= BATCH_BYTES, "what is too large to be unpacked ahead may not be too large"
    assert FETCH_PARTITION_BYTES <= FETCH_BYTES, "a fetch must hold a partition's share"
    assert 2 * READ_VALUE_BYTES < SINK_BATCH_BYTES, "a match holds its read and its entry"
    assert AUDIT_BATCH_BYTES < SINK_BATCH_BYTES, "what is sealed at a time is one batch"
    assert 2 * AUDIT_STEP_CHANGES <= AUDIT_PENDING_CHANGES, "applying goes on beside the audit"
    assert SUPPRESSION_MATCHES_MOST % SUPPRESSION_MATCHES == 0, "matches go in steps"
    assert 192 * SUPPRESSION_MATCHES_MOST < 2 * SINK_BATCH_BYTES, "a key's state is a record"
    assert 2 * SUPPRESSION_KEYS_COMPARED < SUPPRESSION_KEYS, "room is found among the oldest"
    assert SUPPRESSION_KEPT_S < SUPPRESSION_KNOWN_S, "what is kept can be brought up to date"
    assert SUPPRESSION_KNOWN_S + RESTORE_S < 3600, "tombstones are read before they are removed"
    assert AUDIT_LOOK_S < CONTROL_STALE_S, "others learn what is audited before they wait long"
    assert 10 * FETCH_WAIT_MS <= 1000 * CONTROL_STALE_S, "silence is more than an idle fetch"
    assert DELIVERY_TIMEOUT_S < TRANSACTION_S, "a late delivery is not yet a late transaction"
    assert TRANSACTION_S <= BROKERS_TRANSACTION_S, "brokers allow the transactions of commands"
    assert READABLE_S < TRANSACTION_S, "a command reports a transaction that a dead one left open"
    assert DELIVERY_TIMEOUT_S < DELIVERY_TRANSACTION_S, "we give up before the broker does"
    assert DELIVERY_TRANSACTION_S < RESTORE_S, "an abandoned transaction does not end a restore"
    assert SESSION_S + REBALANCE_S < FENCED_S, "the group has time to rebalance"
    assert 2 * SHUTDOWN_S <= REBALANCE_S, "handing over waits for what is in flight"
    assert SESSION_S <= STATIC_SESSION_S, "a static member is given more time, not less"
    assert 3 * HEARTBEAT_S <= SESSION_S, "one lost heartbeat must not cost the partitions"
    assert SHUTDOWN_S + 4 * LEAVE_S < END_S, "after what is in flight it ends its chains and leaves"
    assert SHUTDOWN_S + 3 * LEAVE_S + SPAN_EXPORT_S < END_S, "then the last spans are sent"
    assert SPANS_A_REQUEST < SPANS_WAITING, "some wait while others are sent"
    assert TRACESTATE_CHARACTERS <= TRACESTATE_BYTES, "what is passed on was examined"
    assert ACK_LOOK_S < SHUTDOWN_S, "what is in flight is checked before the time is over"
    assert REVOKED_FIRST_S < SESSION_S / 4, "a member that revokes first does not time out"
    assert LEAVE_S < SESSION_S, "a leave request is sent before the session times out"
    assert SCRUB_INTERVAL_S <= SCRUB_FREED_S, "freed memory is checked once an interval"
    assert HTTP_CONNECTIONS_A_PEER < HTTP_CONNECTIONS, "one address leaves room for others"
    assert INGEST_STRANGERS_A_PEER < INGEST_STRANGERS, "one address leaves room for others"
    assert INGEST_MESSAGES < INGEST_SENDERS, "senders beyond those in work are answered"
    assert INGEST_STRANGERS + INGEST_SENDERS < 250, "some systems allow 256 file descriptors"
    assert HTTP_SHUTDOWN_S < SHUTDOWN_S, "a probe must not delay the shutdown"
    assert STATUS_POINT_S % STATUS_SAMPLE_S == 0, "a stretch is a number of samples"
    assert STATUS_KEPT_S >= 60, "the delay is that of the last minute"
    assert LOG_TELL_S < LOG_WINDOW_S, "what is held back is reported soon after its time"
    assert 2 * FETCH_BYTES <= FETCHED_BYTES, "one is fetched while another one is processed"
    assert 64 * BATCH_RECORDS >= BATCH_BYTES, "sound reads meet the limit of bytes first"
    assert 2 * SINK_BATCH_BYTES <= OUTCOME_BYTES, "parts of a fetch fill whole batches"
    assert 8 * STUCK_LOOK_S <= STUCK_S, "stuck partitions are found in time"
    assert 2 * CONTROL_STALE_S < STUCK_S, "the gate closes before partitions are called stuck"
    assert 3 * METADATA_MAX_AGE_S <= STUCK_S, "added partitions are found before reads are late"
    assert 2 * LAG_LOOK_S <= HELD_BACK_S, "who holds records back is asked before it is logged"
    assert HELD_BACK_S + LAG_LOOK_S <= STUCK_S, "it is logged before the partition is stuck"
    assert CONNECT_S + 2 * DOCTOR_WATCH_S < DOCTOR_CHECK_S, "a check connects, and looks twice"
    assert GONE_LOOKS * RETRY_PAUSE_S < CONTROL_STALE_S, "a topic that is gone is noticed in time"
    assert FETCH_WAIT_MS < 1000 * METADATA_MAX_AGE_S, "records come while the cluster is asked"
    assert 10 * COMMIT_INTERVAL_S <= STUCK_S, "an offset has time to be committed"
    assert STUCK_S < DELIVERY_TIMEOUT_S, "a stuck delivery is named before it ends the worker"
    assert SHUTDOWN_S < STUCK_S, "a revocation does not count as stuck"
    assert 2 * DELIVERY_TIMEOUT_S < HUNG_S, "what is not acknowledged has ended the worker by then"
    assert PLATE_BYTES >= PLATE_CHARACTERS, "a character takes at least a byte"
