"""The kernels against what one would use instead, timed side by side:
`python -m benchmarks [name ...]`."""
