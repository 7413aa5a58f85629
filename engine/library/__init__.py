"""The index as a library, without Kafka.

Pure. It gives the worker's answers; the caller provides the time.

The modules, in the order in which data passes them:

    snapshot        hot lists and policies at one moment; callers' documents are checked here
    hot_list_index  hot lists and policies that change
    library_index   the index without a clock, copied, saved and loaded
    saved_entries   entries in a file
    archive         named parts in one file, checked as a whole
"""

__all__ = ["hot_list_index"]
