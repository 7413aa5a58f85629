"""Reads in from Kafka, through Faust."""
