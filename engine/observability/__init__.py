"""What a worker shows: metrics, logs, traces, its HTTP port and its status page.

Counts, sizes and ages only: nothing here holds a plate, a read or a secret.

The modules, in the order in which data passes them:

    metric_families  every metric, with its meaning
    metrics          what is counted and shown in them
    held_back        what open transactions hold back, since when
    broker_view      what the lag monitor asks the brokers
    lag_monitor      the reads that wait, as the brokers see it
    stall            which partitions are stuck, since when and why
    stall_monitor    stuck partitions, logged, shown and reported
    status           the data of the status page: counts, sizes and ages
    outcome_counts   matches and denials on it, and what a newcomer must do next
    status_page      that page, in plain words
    http_server      /metrics, /healthz, /readyz, the status page
    log_format       the content of a log line, and what it may show
    log_sampling     lines by kind: how many, and which faults occurred
    logs             the worker's log: destination, level, lines a minute
    tracing          spans of matches
    otlp             spans sent with OpenTelemetry's packages
"""

__all__ = [
    "broker_view",
    "held_back",
    "http_server",
    "lag_monitor",
    "log_format",
    "log_sampling",
    "logs",
    "metric_families",
    "metrics",
    "stall",
    "stall_monitor",
    "status",
    "tracing",
]
