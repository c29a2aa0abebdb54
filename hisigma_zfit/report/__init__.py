"""Show results: figures, tables, run folders."""
