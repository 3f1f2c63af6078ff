"""How mixtures are made: their width, what their layers are fitted on, and which channels they
take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lib.joint.geometry import Geometry
from lib.joint.least_squares import check_ridge
from lib.mixture.channels import SCHEMES
from lib.nets.checks import check_counts

# (joint, features in parts, wanted pre-activations in parts, layer) -> weights, the bias last
LayerFit = Callable[[Geometry, Sequence[Tensor], Sequence[Tensor], int], Tensor]

INPUTS = ("own", "teacher")


@dataclass(frozen=True)
class MixtureOptions:
    """The settings of `mix` and `mixtures`.

    Args:
        width: the mixture's channels over those of net1, > 0 (the paper: 2). In a net with
            convolutions it is theirs alone: fully connected layers keep their width, as in the
            paper.
        inputs: "own": layer l reads the mixture's own layer l - 1 and so corrects earlier errors,
            as Algorithm 2 does. "teacher": it is fitted on the features that layer l - 1 is meant
            to have; then all shares have one Gram in common.
        ridge: penalty on the squared weights of every fit, relative to the mean variance of its
            inputs, >= 0; it does what the l_{1,2} penalty does in Algorithm 2: without it channels
            that hardly vary get enormous weights.
        scheme: "replacement" (paper) or "balanced", see `lib.mixture.channels.candidates`.
        redraw: draw the channels anew for every share, as the authors do; otherwise shares take
            prefixes of one draw, so that neighbouring mixtures have channels in common.
        fit: fits hidden layers instead of least squares, for instance as the authors did; needs
            inputs "own".
        batch: images at a time.
    Raises:
        ValueError: a setting outside its range.

    >>> MixtureOptions().width
    2.0
    """

    width: float = 2.0
    inputs: str = "own"
    ridge: float = 0.0
    scheme: str = "replacement"
    redraw: bool = False
    fit: LayerFit | None = None
    batch: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise ValueError(f"width is {self.width}: expected > 0")
        if self.inputs not in INPUTS:
            raise ValueError(f"inputs is {self.inputs!r}: expected one of {INPUTS}")
        if self.scheme not in SCHEMES:
            raise ValueError(f"no scheme {self.scheme!r}: expected {' or '.join(SCHEMES)}")
        if self.fit is not None and self.inputs != "own":
            raise ValueError(
                "a fit of one's own reads the mixture's own features: expected inputs='own'"
            )
        check_counts(self, "batch")
        check_ridge(self.ridge)
