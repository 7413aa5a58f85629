"""The audit: hash chains, how they are sealed and verified, and what changes say to them.

Pure: no Kafka, no event loop, no network. A chain holds no plate of a read that did not match.

The modules, in the order in which data passes them:

    changes          what changed on the lists, in the words of the audit
    pending_changes  the changes that are not known to be audited
    chain            how a record is sealed and opened
    problems         what can be wrong with a chain, one line each
    chain_state      a chain as far as the verifier has come, and what it must hold
    verifier         whether the chains are whole, and where not
    checkpoints      signed checkpoints of the chains
    report           what the audit says of a period
"""

__all__ = ["chain", "changes", "checkpoints", "pending_changes", "problems", "report", "verifier"]
