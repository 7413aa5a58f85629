"""From a batch of reads to matches and rejects.

Pure. The result depends on the read, the lists and the clock alone.

The modules, in the order in which data passes them:

    lists            the control state: entries and policies as the control topics give them
    control_records  the control records of a step, as rows or as objects
    bulk_load        the plain entries of a load, many at a time
    load_step        those of one step, checked and packed
    matcher          fetches and control records in, matches and rejects out
    group_scans      the batches of a fetch decompressed and scanned, on two threads
    scanner          from a batch's records to the few that may match, compiled
    plain_reads      the plain reads among the hits, checked and written again, compiled
    like_reads       those like the plate of one entry, which is found and denied, compiled
    ready_matches    the exact matches of those like earlier ones, decided and written, compiled
    compiled_matches  the compiled code for that
    compiled_hash    the hashes that matches and keys are named by, compiled
    decided_step     what it has made of some reads, for Python to take
    written_matches  what it has written: matches in an array
    ready_parts      what matches are put together from, of the lists and of the last reads
    ready_tables     the tables that this lies in
    opening          a read that is processed in Python, and how its value is opened
    decide           candidates decided and counted, made matches or rejects
    sizes            how large what comes of a read is
    outcome          what a fetch came to: matches, rejects and counts
    candidates       the entries that a read is like, and by what
    conditions       what an entry asks of a read beside its plate
    vehicles         whether a vehicle as read may be the one as listed
    suppression      at most one match of an entry at a camera in a while; the rest is counted
    suppression_states  what is held of all of them, and what has changed
    suppression_table  the states as rows of numbers, for compiled code
    suppression_rows  how it finds, adds and removes them
    suppression_names  the entries and sources that the rows are of
    compiled_admission  reads admitted to the simple keys among them, compiled
    suppression_key  what is held of one of them
    suppression_writer  what is held of them, as JSON
    written_states   what is reported of their changes
    quality          which of two matches is the better one
    match            from a candidate to a match event
    plain_match      the exact match of a plain read, put together from JSON
    verification     what a person must compare before acting on it
    explain          whether a read of a source may match an entry, step by step
"""

__all__ = [
    "candidates",
    "conditions",
    "control_records",
    "explain",
    "lists",
    "match",
    "matcher",
    "outcome",
    "plain_reads",
    "ready_matches",
    "scanner",
    "suppression",
    "written_matches",
    "written_states",
]
