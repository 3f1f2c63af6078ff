"""Embedding in width: splitting, null and general compatible embeddings (Zhang et al. 2021,
2022)."""

from lib.width.channels import merge_channel, split_channel
from lib.width.compatibility import compatible
from lib.width.constructions import embedding, three_fold, two_fold_null
from lib.width.embeddings import NULL, Embedding
from lib.width.general import general_dimension, random_embedding, tangent_dimension, tangents
from lib.width.null import append, null_embed, remove_null
from lib.width.saddle import Witness, saddle_witness
from lib.width.spectrum import SplitSpectrum, split_spectrum
from lib.width.splitting import merge_copy, split, split_into
from lib.width.steps import AffineFamily, affine_family, embed, silent

__all__ = [
    "AffineFamily",
    "Embedding",
    "NULL",
    "SplitSpectrum",
    "Witness",
    "affine_family",
    "append",
    "compatible",
    "embed",
    "embedding",
    "general_dimension",
    "merge_channel",
    "merge_copy",
    "null_embed",
    "random_embedding",
    "remove_null",
    "saddle_witness",
    "silent",
    "split",
    "split_channel",
    "split_into",
    "split_spectrum",
    "tangent_dimension",
    "tangents",
    "three_fold",
    "two_fold_null",
]
