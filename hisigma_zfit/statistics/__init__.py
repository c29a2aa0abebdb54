"""Two-sample tests and intervals: arrays in, numbers out."""
