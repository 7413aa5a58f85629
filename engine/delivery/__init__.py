"""Matches, rejects and audit records, out to Kafka."""
