"""A minimum, a profile, a limit of any likelihood."""
