"""What the Snakefile needs in plain Python: configuration, names of artifacts, code tracking."""
