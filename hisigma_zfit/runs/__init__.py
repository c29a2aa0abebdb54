"""Run folders, stages and stored results, of any task."""
