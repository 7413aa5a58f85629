"""From a file of entries to the difference that is sent; pure."""
