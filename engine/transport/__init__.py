"""Reads in from Kafka, through Faust, which no other package knows.

Only `Fetch.done` lets an offset be committed.

The modules, in the order in which data passes them:

    runtime     what every part of a worker is given
    app         the Faust app that hands the fetches over
    assignment  what is ours from "assigned" to "revoked"
    consumer    Faust's driver: whole fetches instead of one message a record
    positions   where each partition is read from, and that no read is skipped
    offsets     which offset of a partition may be committed, and what must come next
    memory      little of the reads stays in memory once they are processed
"""

__all__ = ["app", "assignment", "consumer", "memory", "runtime"]
