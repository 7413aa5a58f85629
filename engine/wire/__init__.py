"""Kafka's record format: batches, records, headers.

Pure. Every length from the wire is checked, and none is trusted.

The modules, in the order in which data passes them:

    record_batch      fetched batches, unopened: plain data
    batch_splitter    a fetch's bytes, split into batches and checked
    decompress        record batches into a reused buffer
    record_decoder    record format v2, compiled: a row of numbers for each record
    batch_reader      all records of a control batch
    record_rows       some of its records, as rows
    headers           the headers of one record, in the batch's buffer
    alternates        the alternates of a read that are tried
    record_encoder    records and batches, written
    record_columns    many records at once, as columns, and their batches, compiled
    java_partitioner  the partition that Java's producer chooses for a key, compiled
    partitioners      the partitions that other producers choose for it
    trace_context     the trace that a read belongs to, from its headers
"""

__all__ = [
    "alternates",
    "batch_reader",
    "batch_splitter",
    "decompress",
    "headers",
    "java_partitioner",
    "partitioners",
    "record_batch",
    "record_columns",
    "record_decoder",
    "record_encoder",
    "record_rows",
    "trace_context",
]
