"""From what a fetch comes to, out to Kafka.

A fetch is done, and its offset may be committed, when all its records are acknowledged.

The modules, in the order in which data passes them:

    pipeline                from fetches to deliveries, a bounded number at a time
    port                    the one way out, with both modes behind it
    held                    what is held of a partition while it is assigned
    at_least_once           delivery at least once: each thing by its own way
    records                 the records that a worker produces
    match_columns           matches in an array as records, with compiled headers
    batch                   records put together into a whole batch, in the place of aiokafka's
    producer                aiokafka's producer, and records by the partition of their keys
    send_queue              handed over in order, sent in rounds, acknowledged
    sink                    matches, rejects and audit records out to Kafka, acknowledged
    audit_writer            the worker's own chain of audit records, and its way out
    audit_chains            the chains that a worker begins and ends
    known_changelog         up to where a worker knows that, so that it need not read it again
    suppression_changelog   the suppression's state on Kafka
    suppression_reader      reads that, or what changed of it
    suppression_restore     the suppression's part of a worker: restored, kept, let go of
    suppression_keys        its keys, checked in turn: audited and evicted
    transactions            delivery exactly once: a partition's output and offset count together
    fencing                 a partition whose id another producer has
    idle_producers          producers of revoked partitions, in case these come back
    partition_transactions  those of one partition, one after the other
    transactional_producer  one partition's transactions as Kafka has them
"""

__all__ = [
    "at_least_once",
    "audit_chains",
    "audit_writer",
    "pipeline",
    "port",
    "send_queue",
    "sink",
    "suppression_restore",
    "transactional_producer",
    "transactions",
]
