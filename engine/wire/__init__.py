"""Kafka's record format: batches, records, headers.

Pure. Every length from the wire is checked, and none is believed.

The modules, in the order in which data passes them:

    record_batch    what a fetch brings, unopened: plain data
    decompress      record batches into a buffer that is used again
    record_decoder  record format v2, compiled: a row of numbers for each record
    batch_reader    all records of a control batch
    headers         the headers of a record, where it lies
    alternates      which of a read's alternates are tried
    trace_context   the trace that a read belongs to, by its headers
"""

__all__ = [
    "alternates",
    "batch_reader",
    "decompress",
    "headers",
    "record_batch",
    "record_decoder",
    "trace_context",
]
