"""What HyPe and this project cost, side by side with what one would run instead: `python -m hype.benchmark`."""
