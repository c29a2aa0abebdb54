"""Learn p(x'|m) from events."""
