"""Every metric of the worker, with its meaning and its labels.

In base units. Labels are bounded: reasons, match types, the purposes of the purposes file,
partition numbers and a limited number of sources that have a policy. No label ever holds a plate, a
read, an entry id, or a source that only a read names. The registry also has the operating system's
figures for the process.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from engine import limits
from engine.documents.fields import COUNTED_EVENTS, DROPPABLE_FIELDS
from engine.documents.model import REJECT_REASONS
from engine.documents.producer_faults import PRODUCER_FAULTS
from engine.index.eligibility import DENIAL_REASONS
from engine.serving.registry import MetricSet

#: The topics that an open transaction may hold back from a worker, by their label.
HELD_TOPICS = ("reads", "entries", "policies", "suppression", "audit")
#: The label of all sources without a policy, and of those beyond SOURCES_NAMED.
OTHER_SOURCES = "other"

_OPENMETRICS: Final = "application/openmetrics-text"


class Exposition(NamedTuple):
    """The metrics as a response: the body, and the value of its header `Content-Type`."""

    body: bytes
    content_type: str


class MetricFamilies(MetricSet):
    """The worker's metrics in a registry of their own, each by its attribute."""

    def __init__(self) -> None:
        super().__init__()
        ProcessCollector(registry=self.registry)
        self.reads = self._counter("hotlist_reads_total", "Reads processed.")
        self.matches = self._counter(
            "hotlist_matches_total",
            "Matches acknowledged by the broker.",
            "type",
            "purpose",
        )
        self.denied = self._counter(
            "hotlist_denied_total",
            "Reads of a listed plate that made no match, by the reason.",
            "reason",
        )
        self.denied_by_source = self._counter(
            "hotlist_denied_by_source_total",
            "Denied reads that the policy of the read's source denied, or its absence. The first "
            f"{limits.SOURCES_NAMED} sources with a policy are named; the others are "
            f"{OTHER_SOURCES}.",
            "source",
            "reason",
        )
        self.expired_reads = self._counter(
            "hotlist_reads_expired_total",
            "Reads that the topic's retention removed before this group read them.",
        )
        self.suppressed = self._counter(
            "hotlist_suppressed_total",
            "Reads suppressed after a match of the same entry at the same camera.",
        )
        self.suppression_keys = self._gauge(
            "hotlist_suppression_keys",
            "Pairs of entry and camera with suppression state: recent matches or suppressed reads.",
        )
        self.suppression_restore_s = self._histogram(
            "hotlist_suppression_restore_seconds",
            "Time to restore the suppression state of partitions assigned to this worker.",
        )
        self.suppression_records_read = self._counter(
            "hotlist_suppression_records_read_total",
            "Records of the suppression's topic that were read to restore its state.",
        )
        self.rejects = self._counter(
            "hotlist_rejects_total",
            "Bad records that were skipped, with a pointer on the rejects topic.",
            "reason",
        )
        self.odd_keys = self._counter(
            "hotlist_odd_keys_total",
            "Reads whose value was opened because the key was missing or not in normal form, or "
            "the header of alternates was invalid.",
            "reason",
        )
        self.dropped_fields = self._counter(
            "hotlist_dropped_fields_total",
            "Opened reads from which an optional field was dropped because it broke its rule, by "
            "the field. The read is matched without it.",
            "field",
        )
        self.producer_faults = self._counter(
            "hotlist_producer_faults_total",
            "Opened reads whose producer makes a mistake with all of its reads, by the mistake: "
            "the form of the value, another field as the key, or another partitioner.",
            "fault",
        )
        self.schema_fetches = self._counter(
            "hotlist_schema_fetches_total",
            "Schemas that were asked for at the schema registry, by what came of it: ok, unknown "
            "to the registry, unusable, or failed, which is tried again while the reads wait.",
            "result",
        )
        self.values_opened = self._counter(
            "hotlist_values_opened_total",
            "Reads whose value was opened: candidates, odd keys and the sample of key checks.",
        )
        self.sampled_reads = self._counter(
            "hotlist_sampled_reads_total",
            "Valid reads in the sample of key checks, by source; they reveal a source that has "
            "gone silent. Sources with a policy are named, as many as in "
            f"hotlist_denied_by_source_total; the others are {OTHER_SOURCES}.",
            "source",
        )
        self.spans = self._counter(
            "hotlist_spans_total",
            "Spans of matches that the collector has accepted, if otlp_endpoint is set.",
        )
        self.spans_dropped = self._counter(
            "hotlist_spans_dropped_total",
            "Spans of matches dropped because the collector did not accept them in time.",
        )
        self.batches_parsed_slowly = self._counter(
            "hotlist_batches_parsed_slowly_total",
            "Record batches that the scanner handed to the general parser.",
        )
        self.read_to_match_s = self._histogram(
            "hotlist_read_to_match_seconds",
            "From a read's Kafka timestamp to the acknowledgement of its match.",
        )
        self.fetch_s = self._histogram(
            "hotlist_fetch_processing_seconds",
            "Time to process one fetch of one partition, without delivery.",
        )
        self.fetch_reads = self._histogram(
            "hotlist_fetch_reads",
            "Reads in one fetch of one partition.",
            buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
        )
        self.in_delivery = self._gauge(
            "hotlist_fetches_in_delivery",
            "Fetches whose matches, rejects or audit records are not all acknowledged; at "
            f"{limits.FETCHES_IN_DELIVERY} the next fetch waits.",
        )
        self.fetched_bytes = self._gauge(
            "hotlist_fetched_bytes",
            "Bytes of reads that are fetched and not processed, as fetched; at "
            f"{limits.FETCHED_BYTES} fetching pauses.",
        )
        self.delivery_s = self._histogram(
            "hotlist_delivery_seconds",
            "From a fetch's processing to the acknowledgement of its matches and rejects.",
        )
        self.entries = self._gauge(
            "hotlist_entries",
            "Entries in memory (active, scheduled) and keys whose last record was refused.",
            "state",
        )
        self.list_revision = self._gauge(
            "hotlist_list_revision",
            "The revision of the lists in memory, as in the list_revision of matches.",
        )
        self.policies = self._gauge("hotlist_policies", "Sources with a policy.")
        self.control_records = self._counter(
            "hotlist_control_records_total",
            "Control records received, by topic kind and result.",
            "kind",
            "result",
        )
        self.control_delay_s = self._histogram(
            "hotlist_control_delay_seconds",
            "From a control record's Kafka timestamp to its effect, without the first load.",
        )
        self.control_age_s = self._gauge(
            "hotlist_control_age_seconds",
            "Age of the newest control record applied, by topic kind: the time since the last "
            "change of an entry or a policy. A sync that finds no difference changes none.",
            "kind",
        )
        self.control_followed = self._gauge(
            "hotlist_control_followed",
            "1 while the lists in memory are known to be current, so that the worker may take "
            "reads; else 0.",
        )
        self.audit_records = self._counter(
            "hotlist_audit_records_total",
            "Audit records of this worker's chain acknowledged by the broker.",
            "event",
        )
        self.audit_pending = self._gauge(
            "hotlist_audit_pending",
            "Changes of the lists that neither this worker nor another is known to have audited.",
        )
        self.audit_checkpoints = self._gauge(
            "hotlist_audit_checkpoints",
            "1 while the worker writes signed checkpoints of its audit; 0 without "
            "--checkpoint-key, or if they cannot be written: then no one can find out that the "
            "end of the audit was removed.",
        )
        self.audit_delay_s = self._histogram(
            "hotlist_audit_delay_seconds",
            "From the event of an audit record to its acknowledgement; for a batch, the oldest "
            "event counts.",
        )
        self.unauthorized_extensions = self._counter(
            "hotlist_unauthorized_extensions_total",
            "Entries extended beyond their purpose's term without a new authority.",
        )
        self.ready = self._gauge("hotlist_ready", "1 while the worker takes reads, else 0.")
        self.lag = self._gauge(
            "hotlist_consumer_lag",
            "Reads of a partition that wait, those that an open transaction holds back with them; "
            f"current within {limits.LAG_LOOK_S:g} s while nothing is fetched, too. The owner of "
            "the lowest partition also shows the partitions that no worker owns.",
            "partition",
        )
        self.partitions_unowned = self._gauge(
            "hotlist_partitions_unowned",
            "Partitions of the reads that no worker owns. Only the owner of the lowest partition "
            "shows them.",
        )
        self.held_back_s = self._gauge(
            "hotlist_held_back_seconds",
            "How long an open transaction has held back records of a topic that this worker reads "
            f"({', '.join(HELD_TOPICS)}), by topic and partition; no value while none does.",
            "topic",
            "partition",
        )
        self.stuck_s = self._gauge(
            "hotlist_partition_stuck_seconds",
            f"How long a partition that this worker owns has been stuck: {limits.STUCK_S:g} s or "
            "more without progress in its work, without a commit, without any report, or with its "
            "reads held back by an open transaction; 0 while it is not.",
            "partition",
        )
        for event in COUNTED_EVENTS:
            self.audit_records.labels(event)
        for reason in REJECT_REASONS:
            self.rejects.labels(reason)
        for field in DROPPABLE_FIELDS:
            self.dropped_fields.labels(field)
        for fault in PRODUCER_FAULTS:
            self.producer_faults.labels(fault)
        for reason in DENIAL_REASONS:
            self.denied.labels(reason)
        for result in ("ok", "unknown", "unusable", "failed"):
            self.schema_fetches.labels(result)
        for reason in ("missing", "not_normal", "alternates"):
            self.odd_keys.labels(reason)

    def exposition(self, accept: str = "") -> Exposition:
        """Return all metrics in the format that a request accepts.

        OpenMetrics if its header `Accept` names that, else Prometheus' text format, which has no
        exemplars.
        """
        offered = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
        if _OPENMETRICS in offered:
            body = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return Exposition(body, openmetrics.CONTENT_TYPE_LATEST)
        return Exposition(generate_latest(self.registry), CONTENT_TYPE_LATEST)
