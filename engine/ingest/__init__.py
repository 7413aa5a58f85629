"""From a camera's or a vendor's message to a read in Kafka.

A message is answered after the broker has its reads. `adapters` is pure.

The modules, in the order in which data passes them:

    authentication  whether a sender knows the endpoint's token
    forms           the messages in a request's body
    bodies          a request's body, read within bounds
    webhook         the endpoint for vendors' messages over HTTP
    mqtt            vendors' messages from an MQTT broker
    adapters        one module for each vendor: from a message to reads
    spool           reads of senders that never send again, held until the broker has them
    producer        reads into Kafka
    metrics         what is counted of all this
    status_routes   what a process shows of itself over HTTP
"""

__all__ = ["adapters", "metrics", "mqtt", "producer", "status_routes", "webhook"]
