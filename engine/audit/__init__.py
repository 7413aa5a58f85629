"""The audit: hash chains, how they are sealed and verified, and how they describe changes.

Pure: no Kafka, no event loop, no network. A chain holds no plate of a read that did not match.

The modules, in the order in which data passes them:

    changes          what changed on the lists, as audit records describe it
    pending_changes  the changes that are not known to be audited
    chain            how a record is sealed and opened
    problems         what can be wrong with a chain, one line each
    chain_state      the verified part of a chain, and the records that it must contain
    verifier         whether the chains are intact, and where not
    checkpoints      signed checkpoints of the chains
    report           a summary of the audit for a period
"""

__all__ = ["chain", "changes", "checkpoints", "pending_changes", "problems", "report", "verifier"]
