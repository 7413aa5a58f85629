"""What every HTTP port of ours has: bounds on its clients, and metrics that show no moment.

Used by the worker's port and by the webhook. Knows nothing of reads, and imports no other package.

The modules, in the order in which a request passes them:

    port         a TCP port: strangers and trusted clients, and how many of each
    http_port    an aiohttp application behind such a port
    certificate  the certificate of a port with TLS
    registry     the metrics of a process, in a registry of their own
"""

__all__ = ["certificate", "http_port", "port", "registry"]
