"""One worker process, wired together."""
