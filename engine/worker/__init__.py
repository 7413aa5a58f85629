"""One worker process: wired together, started and stopped.

Unexpected errors end the worker: without a commit the next one processes the reads again.

The modules, in the order in which data passes them:

    worker    wires everything together; runs until it is stopped
    shutdown  the end of the worker, step by step, in a bounded time
"""

__all__ = ["worker"]
