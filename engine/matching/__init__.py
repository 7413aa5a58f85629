"""From a batch of reads to matches and rejects.

Pure. The result depends on the read, the lists and the clock alone.

The modules, in the order in which data passes them:

    lists            the control state: entries and policies from the control topics
    matcher          fetches and control records in, matches and rejects out
    scanner          from a batch's records to the few that may match, compiled
    outcome          candidates decided and counted: matches, denials, rejects
    candidates       the entries that a read is like, and the match that one makes
    conditions       an entry's conditions on a read besides its plate
    vehicles         whether a vehicle as read may be the one as listed
    suppression      at most one match of an entry at a camera in a while; repeats are counted
    suppression_key  the state of one entry at one camera
    match            from a candidate to a match event, and what a person must compare
    explain          whether a read of a source may match an entry, step by step
"""

__all__ = [
    "candidates",
    "conditions",
    "explain",
    "lists",
    "match",
    "matcher",
    "outcome",
    "suppression",
]
