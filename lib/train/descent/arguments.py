"""What the two CPU kernels are given, in groups: Numba takes named tuples of arrays as arguments.

Inside a kernel an array is replaced by its `address`, so the memory of a group may be either."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lib._simd.lanes import Floats, Ints, Memory


class Share(NamedTuple):
    """The units first..last - 1, to be taken to step `until`: the work of one thread."""

    first: int
    last: int
    until: int


class Clock(NamedTuple):
    """Where every unit is, so that an interrupted run goes on: its next step and next record.

    plan: the steps to record, (R,), rising."""

    step: Ints
    record: Ints
    plan: Ints


class Update(NamedTuple):
    """The rule of descent: plain, or Adam."""

    adam: bool
    lr: float
    beta1: float
    beta2: float
    eps: float


class Sample(NamedTuple):
    """The sample of the two-layer kernel.

    x, y: as `layout.columns` gives them;  size: (n, d, k, rows, samples of a tile);  far: the
    largest |x|;  shared: eight neurons of one net side by side, not eight nets."""

    x: Memory
    y: Memory
    size: tuple[int, int, int, int, int]
    far: float
    shared: bool


class Sigma(NamedTuple):
    """The activation: its parameter (slope or alpha), and the `constants` of its kind."""

    parameter: float
    table: Memory


class Books(NamedTuple):
    """State and records of the two-layer kernel, in vectors of eight.

    state: of every unit its parameters, the snapshot of smallest gradient if `keep`, Adam's moments
    and the seven numbers of `numba_kernel`;  losses: (units, R);  smallest: (units, R - 1,
    parameters);  smallest_at: gradient, step and loss of those iterates, (units, R - 1, 3)."""

    keep: bool
    state: Memory
    losses: Memory
    smallest: Memory
    smallest_at: Memory


class Shape(NamedTuple):
    """Nets of any depth, and the sample, for the deep kernel.

    kind, alpha: the activation and its parameter;  entropy: the cross entropy, else the mean
    square;  n: samples;  vectors: ceil(n / 8);  widths: (L + 1,);  has_bias: (L,)."""

    kind: int
    alpha: float
    entropy: bool
    n: int
    vectors: int
    widths: Ints
    has_bias: NDArray[np.bool_]


class Rows(NamedTuple):
    """The sample of the deep kernel, each feature a row of vectors; live is 0 for padding."""

    x: Memory
    y: Memory
    live: Memory


class Nets(NamedTuple):
    """State of the deep kernel: parameters and moments one net after the other; the step at which
    each net died, or -1, and the loss that it must not exceed, (nets,)."""

    theta: Floats
    first: Floats
    second: Floats
    died: Ints
    limit: Floats


class Iterates(NamedTuple):
    """Iterates of smallest gradient L1 norm: that norm, the step and the loss there, and the
    parameters where they are kept (otherwise the last axis is empty)."""

    gradient: Floats
    step: Ints
    loss: Floats
    net: Floats
