"""The cost of HyPe and of this project, compared with the alternatives: `python -m hype.benchmark`."""
