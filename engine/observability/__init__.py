"""What a worker shows: metrics, logs, traces, its status page."""
