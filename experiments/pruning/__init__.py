"""Chapter 03: rivals of merging, their comparison, and what is measured on stuck images."""
