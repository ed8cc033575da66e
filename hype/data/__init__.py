"""GLUE, the NLI sets and own files as data sets that are ready to train on."""
