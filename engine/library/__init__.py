"""The index as a library, without Kafka."""
