"""From a plate to the entries that it is like; pure."""
