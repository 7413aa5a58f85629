"""Kafka's record format; pure."""
