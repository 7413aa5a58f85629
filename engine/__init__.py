"""Matches licence plate reads in Kafka against hot lists held in memory.

A read goes in, a match comes out; a read that matches nothing leaves only a count behind. For
programs that produce reads there is `normalize`, which makes the record key, and `Detection`,
the document. Everything else is run through the command `hotlist`.

The modules, in the order in which a read passes them:

    transport      Faust's driver: whole fetches instead of one message a record
    batches        the seam in aiokafka that leaves fetched record batches unopened
    raw            what a fetch brings, unopened: plain data
    offsets        which offset of a partition may be committed
    worker         wires everything into one Faust app; runs until it is stopped
    heart          fetches and control records in, matches and rejects out; no I/O
    decompress     record batches into a buffer that is used again
    scan           from a batch's records to the few that may match; compiled
    hashing        the 64-bit xxh3 of a plate, compiled
    table          the hash table that the scanner probes
    plate          normal form: one spelling for one plate
    lists          the control state: entries and policies as the control topics give them
    index          from the hash of a plate to the entries filed under it
    store          entries kept small
    timeline       which entries start and end by the clock
    policy         who may match on whose reads: eligibility as bitmap algebra
    match          from a candidate to a match event, and what a person must compare
    sink           matches and rejects out to Kafka, acknowledged

What these share, or what stands beside them:

    control        follows the control topics; the gate before the reads
    unpack         all records of a control batch
    documents      the documents of the contract, held to `schemas/`
    fields         what their fields may hold
    rules          whether an entry is admissible
    purposes       the purposes file: codes, longest terms, floors of known characters
    topics         topic names, and how topics are declared and checked
    topic_settings how each topic is set up
    config         settings: flag, variable, hotlist.toml, default
    limits         every limit
    metrics        every metric
    http           /metrics, /healthz, /readyz
    clock          the time of day, and how it is written
    errors         the errors that people see

The command line:

    cli            the commands
    client         what the commands do with Kafka
    entry_files    entries from CSV and JSON Lines
    entry_csv      the columns of CSV
    line_files     files of lines, with their numbers
    demo           the demo, and its count of what should have come out
    embedded       the in-process broker
    synthetic      a made-up city for demo, tests and benchmarks
"""

from engine.documents import Detection
from engine.plate import normalize

__all__ = ["Detection", "normalize"]
