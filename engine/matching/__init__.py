"""From a read to a match; pure."""
