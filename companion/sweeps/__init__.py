"""Sweeps: one chapter at many points of its parameters, on one machine or on a cluster."""
