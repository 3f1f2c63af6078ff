"""Random draws of the tests."""

from __future__ import annotations

import torch


def seeded(seed: int = 0) -> torch.Generator:
    """A generator of a seed."""
    return torch.Generator().manual_seed(seed)
