"""What a worker shows: metrics, logs, traces, its HTTP port and its status page.

Counts, sizes and ages only: nothing here holds a plate, a read or a secret.

The modules, in the order in which data passes them:

    metrics        every metric
    unowned_lag    the lag of partitions that no worker owns
    stall          which partitions are stuck, since when and at what
    stall_monitor  stuck partitions, logged, shown and reported
    status         what the status page tells: counts, sizes and ages
    status_page    that page, in people's words
    http_server    /metrics, /healthz, /readyz, the status page
    log_format     what a log line says, and what it may hold
    log_sampling   lines by kind: how many, and which faults there were
    logs           the worker's log: where, from which level on, how many lines
    tracing        spans of matches
    otlp           spans as OpenTelemetry's packages send them
"""

__all__ = [
    "http_server",
    "log_sampling",
    "logs",
    "metrics",
    "stall",
    "stall_monitor",
    "status",
    "tracing",
    "unowned_lag",
]
