"""Kafka, as the engine uses it: connections, topics, rights, readers and writers."""
