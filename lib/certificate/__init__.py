"""Certificates that an embedding keeps outputs, criticality and inertia."""
