"""Embedding in width: splitting, null and general compatible embeddings (Zhang et al. 2021,
2022)."""

from lib.width.channels import merge_channel, split_channel
from lib.width.constructions import embedding
from lib.width.general import general_dimension, random_embedding, tangent_dimension
from lib.width.null import append, null_embed
from lib.width.saddle import saddle_witness
from lib.width.spectrum import split_inertia, split_spectrum
from lib.width.splitting import split, split_into
from lib.width.steps import affine_family, embed

__all__ = [
    "affine_family",
    "append",
    "embed",
    "embedding",
    "general_dimension",
    "merge_channel",
    "null_embed",
    "random_embedding",
    "saddle_witness",
    "split",
    "split_channel",
    "split_inertia",
    "split_into",
    "split_spectrum",
    "tangent_dimension",
]
