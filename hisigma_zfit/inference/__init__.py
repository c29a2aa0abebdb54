"""Ask the likelihood: fits, tests, intervals."""
