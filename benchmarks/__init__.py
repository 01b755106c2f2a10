"""Speed and memory, measured; `python -m benchmarks.performance` runs all of it."""
