"""What HyPe and this project cost: ratios, measured side by side in one run. `python -m hype.benchmark --help`."""
