"""Operators on the loss landscape of neural networks, as tested tensor kernels."""
