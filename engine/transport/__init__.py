"""Reads in from Kafka, through Faust, which no other package knows.

Only `Fetch.done` lets an offset be committed.

The modules, in the order in which data passes them:

    runtime          what every part of a worker needs
    app              the Faust app that hands the fetches over
    driver           Faust's driver: whole fetches instead of one message a record
    batch_topics     the topics that are fetched so, and how their offsets are committed
    assignment       the partitions of this worker, from "assigned" to "revoked"
    holdings         those that it owns now: assigned all together or one by one, drained, revoked
    consumer_thread  the thread in which the group's consumer runs
    sticky_assignor  assigns the partitions so that few of them move
    cooperation      rebalances in which a worker keeps what stays with it
    group_source     the group's consumer, as `positions` uses it
    positions        the offset from which each partition is read; no read is skipped
    draining         waits until what has begun is done, and commits it
    consumer         Faust's consumer: a message for each fetch, commits, rebalances
    fetch            one fetch of a partition, and the parts that it is cut into
    offsets          which offset of a partition may be committed, and which comes next
    memory           scrubs processed reads out of memory
"""

__all__ = ["app", "assignment", "batch_topics", "fetch", "memory", "runtime"]
