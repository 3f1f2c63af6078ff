"""Lifting in depth (Bai et al. 2024): lift, merge, membership, linearisation measures, boundaries
and volumes."""

from lib.depth.approximate import ApproximateLift, approximate_lift
from lib.depth.boundary import Exits, exits, kink_errors, layer_error, slide
from lib.depth.escape import open_exit
from lib.depth.factorisation import Factors, factor
from lib.depth.lifting import lift, lift_layers, lifted_dimension
from lib.depth.merging import (
    Membership,
    is_regular,
    lifted_from,
    membership,
    merge,
    merge_known,
    merge_layers,
    merging_jacobian,
)
from lib.depth.modules import insert_layer, merge_layer
from lib.depth.nonlinearity import bending
from lib.depth.normalised import NormalisedRun, descend_normalised, normalised_layers
from lib.depth.pieces import affine_error, layer_affine_error, linearised_share, pieces_of, place
from lib.depth.residual import (
    ResidualBlock,
    insert_block,
    linearised_block,
    null_block,
    stream_at,
    zero_output_block,
)
from lib.depth.volume import in_hull, one_piece_probability

__all__ = [
    "ApproximateLift",
    "Exits",
    "Factors",
    "Membership",
    "NormalisedRun",
    "ResidualBlock",
    "affine_error",
    "approximate_lift",
    "bending",
    "descend_normalised",
    "exits",
    "factor",
    "in_hull",
    "insert_block",
    "insert_layer",
    "is_regular",
    "kink_errors",
    "layer_affine_error",
    "layer_error",
    "lift",
    "lift_layers",
    "lifted_dimension",
    "lifted_from",
    "linearised_block",
    "linearised_share",
    "membership",
    "merge",
    "merge_known",
    "merge_layer",
    "merge_layers",
    "merging_jacobian",
    "normalised_layers",
    "null_block",
    "one_piece_probability",
    "open_exit",
    "pieces_of",
    "place",
    "slide",
    "stream_at",
    "zero_output_block",
]
