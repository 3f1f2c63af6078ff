"""Embedding in depth (Bai et al. 2024): lift and its inverse, what is linearised on the data, and
where lifted manifolds end."""

from lib.depth.approximate import approximate_lift
from lib.depth.boundary import exits, slide
from lib.depth.layers import layer_on_data
from lib.depth.lifting import lift, lift_layers, lifted_dimension
from lib.depth.merging import lifted_from, unlift
from lib.depth.modules import insert_layer
from lib.depth.pieces import layer_affine_error, linearised_share
from lib.depth.residual import (
    insert_block,
    linearised_block,
    null_block,
    stream_at,
    zero_output_block,
)

__all__ = [
    "approximate_lift",
    "exits",
    "insert_block",
    "insert_layer",
    "layer_affine_error",
    "layer_on_data",
    "lift",
    "lift_layers",
    "lifted_dimension",
    "lifted_from",
    "linearised_block",
    "linearised_share",
    "null_block",
    "slide",
    "stream_at",
    "unlift",
    "zero_output_block",
]
