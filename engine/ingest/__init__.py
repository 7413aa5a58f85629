"""From a camera's or a vendor's message to a read in Kafka.

A message is answered after the broker has its reads. `adapters` is pure.

The modules, in the order in which data passes them:

    adapters  one module for each vendor: from a message to reads
    producer  reads into Kafka
    webhook   the endpoint for vendors' messages over HTTP
"""

__all__ = ["adapters", "producer", "webhook"]
