"""The questions that are asked of a likelihood, each answered with a frozen result."""
