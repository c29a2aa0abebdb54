"""Data that were never taken: Asimov sets, pools, pseudo-experiments."""
