"""Figures of speed, memory and accuracy, each by a command of its own: `python -m benchmarks.throughput --help`."""
