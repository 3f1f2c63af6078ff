"""Symmetries of nets: permutations, rescalings, alignment and weight matching."""
