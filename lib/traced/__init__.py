"""Residual nets and other modules, traced by torch.fx into groups of channels that belong
together."""

from lib.traced.editing import channel_groups
from lib.traced.saving import load_state

__all__ = ["channel_groups", "load_state"]
