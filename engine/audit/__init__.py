"""The audit: hash chains, how they are sealed and verified, and how they describe changes.

Pure: no Kafka, no event loop, no network. A chain holds no plate of a read that did not match.

The modules, in the order in which data passes them:

    changes           what changed on the lists, as audit records describe it
    added_entries     the entries that a load added, kept small
    pending_changes   the changes that are not known to be audited
    record_fields     what a record is about, checked and written
    chain             how a record is sealed and opened
    written_events    many of them sealed at once, compiled
    compiled_hash     the processor's own SHA-256, for that
    problems          what can be wrong with a chain, one line each
    chain_state       the verified part of a chain, and the records that it must contain
    gaps              the gaps of a chain, and records that come late
    roots             where chains begin and end
    lost_records      expected records that were not found
    verifier          whether the chains are intact, and where not
    match_comparison  the matches compared with the audit
    checkpoints       signed checkpoints of the chains
    report            a summary of the audit for a period
"""

__all__ = [
    "added_entries",
    "chain",
    "chain_state",
    "changes",
    "checkpoints",
    "compiled_hash",
    "match_comparison",
    "pending_changes",
    "problems",
    "record_fields",
    "report",
    "verifier",
    "written_events",
]
