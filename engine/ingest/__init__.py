"""From a camera's or a vendor's message to a read in Kafka.

A message is answered after the broker has its reads. `adapters` is pure.

The modules, in the order in which data passes them:

    authentication  whether a sender knows the endpoint's token
    forms           the messages in a request's body
    webhook         the endpoint for vendors' messages over HTTP
    adapters        one module for each vendor: from a message to reads
    producer        reads into Kafka
"""

__all__ = ["adapters", "authentication", "forms", "producer", "webhook"]
