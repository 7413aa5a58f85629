"""The index as a library, without Kafka.

Pure. It answers as the worker does; it has no clock.

The modules, in the order in which data passes them:

    snapshot        hot lists and policies as they were once; what callers give is checked here
    hot_list_index  hot lists and policies that change
    library_index   the index without a clock, copied, saved and loaded
    saved_entries   entries in a file
    archive         named parts in one file, whole or refused
"""

__all__ = ["hot_list_index"]
