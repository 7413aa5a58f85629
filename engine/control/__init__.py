"""The control plane: lists and policies followed, the gate before the reads, changes audited.

The state is what the last record of each key says, so all workers have the same state.

The modules, in the order in which data passes them:

    gate               whether reads may be taken, and why not
    replica            follows the control topics, and opens and closes the gate
    state              what the replica does next, decided without I/O
    list_updater       lets control records take effect, and tells the audit
    auditing           the audit's part of a worker
    change_auditor     audits each change of the lists, in one worker
    audit_group        which worker that is, and how far it has come
    checkpoint_writer  signed checkpoints of the worker's chains, as a file
"""

__all__ = ["auditing", "gate", "list_updater", "replica"]
