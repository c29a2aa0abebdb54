"""An analysis in one file: written from a run folder, read, evaluated, combined; neither code nor data are in it."""
