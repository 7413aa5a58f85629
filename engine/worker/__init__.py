"""One worker process: wired together, started and stopped.

Unexpected errors end the worker: without a commit the next one processes the reads again.

The modules, in the order in which data passes them:

    main       the process: its event loop, its log, its signals
    worker     all parts wired together, started and stopped in order
    startup    the topics prepared, and what the worker logs first
    schemas    the schemas of reads, fetched while the reads wait
    processor  one fetch's way to its outcome
    health     what the worker reports: alive, ready, metrics, status
    shutdown   the end of the worker, step by step, in a bounded time
"""

__all__ = ["main", "worker"]
