"""Matches licence plate reads in Kafka against hot lists held in memory.

A read goes in, a match comes out; a read that matches nothing leaves only a count behind. For
programs that produce reads there are `Detection`, the document, `encode`, which makes a record of
it, and `normalize`, which makes the record's key; for those that match by themselves, without
Kafka, `HotListIndex`. Everything else is run through the command `hotlist`.

The modules, in the order in which a read passes them:

    transport      Faust's driver: whole fetches instead of one message a record
    batches        the seam in aiokafka that leaves fetched record batches unopened
    fetch_room     no more is fetched than there is room for
    raw            what a fetch brings, unopened: plain data
    positions      where each partition is read from, and that no read is skipped
    offsets        which offset of a partition may be committed, and what must come next
    worker         wires everything together; runs until it is stopped
    faust_app      the Faust app that hands the fetches over
    leaving        a member leaves its group at once, whatever it is about
    ending         the end of the worker, step by step, in a bounded time
    pipeline       from fetches to deliveries, a bounded number at a time
    heart          fetches and control records in, matches and rejects out; no I/O
    decompress     record batches into a buffer that is used again
    scan           from a batch's records to the few that may match; compiled
    walk           record format v2, compiled: a row of numbers for each record
    hashing        the 64-bit xxh3 of a plate, compiled
    table          the hash table that the scanner probes
    plate          normal form: one spelling for one plate
    lists          the control state: entries and policies as the control topics give them
    changes        what changed on the lists, in the words of the audit
    index          from a plate to the entries that it is like
    similar        entries that ask for more than their exact plate
    near           look-alikes, and plates one character apart
    folded         the hashes by which they are found, compiled
    patterns       partial plates as bitmaps; compiled
    stages         which entries count now, and which only lie there
    store          entries kept small
    shared_values  what many entries have in common, kept once
    timeline       which entries start and end by the clock
    alternates     which of a read's alternates are tried
    likeness       whether a plate as read may be a plate as listed, and where they differ
    candidates     the entries that a read is like, and the match that one makes
    outcome        candidates decided and counted, made matches or rejects
    policy         who may match on whose reads: eligibility as bitmap algebra
    record_headers the headers of a record, where it lies
    trace_context  the trace that a read belongs to, by its headers, for its matches
    narrowing      what an entry asks of a read beside its plate
    confidence     how probable it is that the plate is the listed one
    suppress       at most one match of an entry at a camera in a while; the rest is counted
    suppression_key  what is remembered of one of them
    match          from a candidate to a match event, and what a person must compare
    sink           matches, rejects and audit records out to Kafka, acknowledged

What these share, or what stands beside them:

    control        follows the control topics; the gate before the reads
    list_keeper    control records take effect, and the audit is told
    watching       stuck partitions, logged, shown and told
    stuck          which partitions are stuck, since when and at what
    suppressing    the suppression's part of a worker
    suppression_log  its state on Kafka, which goes with the partitions
    transactions   delivery exactly once: a partition's output and offset count together
    partition_transactions  those of one partition, one after the other
    transactional_sink  one partition's transactions as Kafka has them
    auditing       the audit's part of a worker
    auditor        each change of the lists is audited, by one worker
    audit_group    which worker that is, and how far it has come
    pending        the changes that are not known to be audited
    unpack         all records of a control batch
    explain        whether a read of a source may match an entry, step by step
    audit_log      the worker's own chain of audit records, and its way out
    audit          hash chains: how a record is sealed and opened
    documents      the documents of the contract, held to `schemas/`
    fields         what their fields may hold
    rules          whether an entry is admissible
    purposes       the purposes file: codes, longest terms, floors of known characters
    misreads       the table of misreads: look-alikes, and how often cameras misread
    misread_rates  how probable each misread is
    shipped        files that we ship and that an operator may replace
    hours          weekly windows, and how people write them
    vehicles       whether a vehicle as read may be the one as listed
    topics         topic names, and how topics are declared and checked
    topic_settings how each topic is set up
    config         settings: flag, variable, hotlist.toml, default
    connection     how the brokers are reached, and as whom
    refusals       what the broker does not let us do, and what somebody must allow
    acls           what each role may do on the brokers
    forgetting     little of the reads stays in memory once they are processed
    limits         every limit
    metrics        every metric
    tracing        spans of matches, told to a collector
    otlp           as OpenTelemetry's packages send them
    http           /metrics, /healthz, /readyz, the status page
    status_page    that page, in people's words
    status         what it tells: counts, sizes and ages
    logs           the worker's log: where, from which level on, how many lines
    log_lines      what a line says, and what it may hold
    log_kinds      lines by kind: how many, and which faults there were
    versions       which versions are at work
    clock          the time of day, and how it is written
    errors         the errors that people see

What looks at the audit:

    audit_topic    reads the audit topic, whole or for a period
    audit_verifier whether the chains are whole, and where not
    audit_chains   a chain as far as a verifier has come with it
    audit_expected records that must be there, because somebody has noted them
    audit_problems what can be wrong, one line each
    audit_report   what the audit says of a period
    checkpoints    signed checkpoints of the chains

The command line:

    cli            the commands
    client         what the commands do with Kafka
    doctor         looks at a deployment from outside
    findings       what that shows, judged
    rights         what the broker says this login may do

From a camera's or a vendor's message to a read:

    adapters       one module for each vendor
    read_record    a read as the record that goes to Kafka
    ingest         messages into Kafka
    ingest_http    the endpoint for webhooks

From a file of entries to records, in the order in which they pass:

    text_encoding  UTF-8 or Windows-1252
    line_files     files of lines, with their numbers
    entry_csv      rows of cells
    profile        what the columns of a file are; `profiles/` has those that we ship
    profile_files  the files of profiles, and how one is laid over another
    date_forms     dates as other systems write them
    entry_fields   the fields of an entry by flat names
    entry_rows     from a row to a document
    entry_files    from a document to an entry, filled up and checked
    entry_digests  entries as hashes, to be compared
    file_entries   a file's rows while they wait
    list_state     the topic's state as digests
    list_reader    reads that state from Kafka
    spool          records that wait, small
    entry_changes  what a file would change: the difference that is sent

The index as a library, without Kafka:

    hot_list_index  hot lists and policies that change
    snapshot       them as they were once: what is asked is asked here
    given          what callers give: documents and times
    timeless       the index without a clock, copied, saved and loaded
    saved_entries  entries in a file
    index_file     named parts in one file, whole or refused

And for a first look:

    demo           the demo, and its count of what should have come out
    traffic        reads of a made-up city at a steady rate
    embedded       the in-process broker
    synthetic      a made-up city for demo, tests and benchmarks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.documents.model import Detection
from engine.documents.read_record import encode
from engine.plates.normal_form import normalize

if TYPE_CHECKING:
    from engine.library.hot_list_index import HotListIndex

__all__ = ["Detection", "HotListIndex", "encode", "normalize"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: it brings a compiler along, and who produces reads does not
    # want to wait for that.
    if name == "HotListIndex":
        from engine.library.hot_list_index import HotListIndex

        return HotListIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
