"""From vendors' messages to reads in Kafka."""
