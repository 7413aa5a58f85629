"""From a plate to the entries that it is like.

Pure. The filters may let too much through, never too little: `plates.likeness` decides.

The modules, in the order in which data passes them:

    plate_index      the index: from a plate to entries
    hash_table       the hash table that the scanner probes
    fuzzy_index      entries that ask for more than their exact plate
    edit_distance    look-alikes, and plates one character apart
    deletion_hashes  the hashes by which they are found, compiled
    wildcards        partial plates as bitmaps, compiled
    pattern_shapes   a filter in front of them, compiled
    only_entry       the only entry that a key is like, compiled
    entry_store      entries kept small
    packed_entry     how one lies there, place by place
    open_entry       one that was matched lately, as it was decoded
    entry_rows       many entries packed at a time, compiled
    intern_table     what many entries have in common, kept once
    visibility       which entries count now, and which only lie there
    terms            from when until when each entry counts
    timer_wheel      which entries start and end by the clock
    eligibility      who may match on whose reads, as bitmap algebra
"""

__all__ = [
    "eligibility",
    "entry_rows",
    "open_entry",
    "packed_entry",
    "plate_index",
    "terms",
    "timer_wheel",
]
