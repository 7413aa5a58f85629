"""From what a fetch comes to, out to Kafka.

A fetch is done, and its offset may be committed, when all its records are acknowledged.

The modules, in the order in which data passes them:

    pipeline                from fetches to deliveries, a bounded number at a time
    sink                    matches, rejects and audit records out to Kafka, acknowledged
    audit_writer            the worker's own chain of audit records, and its way out
    suppression_changelog   the suppression's state on Kafka
    suppression_restore     the suppression's part of a worker: restored, kept, given up
    transactions            delivery exactly once: a partition's output and offset count together
    partition_transactions  those of one partition, one after the other
    transactional_producer  one partition's transactions as Kafka has them
"""

__all__ = [
    "audit_writer",
    "pipeline",
    "sink",
    "suppression_restore",
    "transactional_producer",
    "transactions",
]
