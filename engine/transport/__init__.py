"""Reads in from Kafka, through Faust, which no other package knows.

Only `Fetch.done` lets an offset be committed.

The modules, in the order in which data passes them:

    runtime     what every part of a worker needs
    app         the Faust app that hands the fetches over
    assignment  the partitions of this worker, from "assigned" to "revoked"
    consumer    Faust's driver: whole fetches instead of one message a record
    positions   the offset from which each partition is read; no read is skipped
    offsets     which offset of a partition may be committed, and which comes next
    memory      scrubs processed reads out of memory
"""

__all__ = ["app", "assignment", "consumer", "memory", "runtime"]
