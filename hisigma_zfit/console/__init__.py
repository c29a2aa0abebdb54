"""What somebody at a terminal, or the log of a batch job, sees of this package: progress, errors, completion."""
