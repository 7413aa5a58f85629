"""From a plate to the entries that it is like.

Pure. The filters may pass too much, never too little: `plates.likeness` decides.

The modules, in the order in which data passes them:

    plate_index      the index: from a plate to entries
    hash_table       the hash table that the scanner probes
    fuzzy_index      entries that match more than their exact plate
    edit_distance    look-alikes, and plates one character apart
    deletion_hashes  the hashes by which they are found, compiled
    wildcards        partial plates as bitmaps, compiled
    entry_store      entries in compact form
    intern_table     values that many entries share, stored once
    visibility       which entries are visible, staged or ended
    timer_wheel      which entries start and end by the clock
    eligibility      which agencies may match on which sources' reads, as bitmaps
"""

__all__ = ["eligibility", "plate_index", "timer_wheel"]
