"""GLUE, the NLI sets and own files as data sets that are ready to train on; `splits.load_splits` is where to start."""
