"""Training: many small nets at once, and the convolutional family."""
