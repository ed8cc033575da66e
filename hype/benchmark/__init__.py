"""What is measured: cost in time and memory."""
