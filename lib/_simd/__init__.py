"""A vector type for Numba kernels, pointwise functions on it, and how kernels are compiled."""
