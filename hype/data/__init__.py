"""GLUE, the NLI sets and the user's own files as data sets ready for training; start with `splits.load_splits`."""
