"""Residual blocks that leave the function as it is, and which of them leave a critical point
critical (claim B13).

On a stream x_{l+1} = x_l + V_l sigma(U_l x_l + b_l) + c_l with e_l = dR / dx_l, a critical point
has the same two sums
over the sample at every l: sum e_l (from dR/db_l = 0) and sum e_l x_l^T (from dR/dU_l = dR/dV_l =
0, dR/dc_l = 0). Both are 0 if a Linear layer with bias reads the end of the stream. What a new
block feels of the point is these two sums."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lib.depth.factorisation import factor
from lib.nets import Activation
from lib.nets.activations import get
from lib.nets.checks import check_index
from lib.nets.drawing import Randomness, source_of
from lib.nets.kinds import check_deterministic, check_plain
from lib.nets.samples import check_samples
from lib.nets.sequential import activation_module


class ResidualBlock(nn.Module):
    """x + V sigma(U x + b) + c on a stream of `width` features.

    Args:
        width: of the stream;  hidden: neurons of the block.

    >>> ResidualBlock(2, 5, "relu")(torch.zeros(3, 2)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: str | Activation,
        dtype: torch.dtype | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden, dtype=dtype)
        self.sigma = activation_module(get(activation))
        self.outer = nn.Linear(hidden, width, bias=bias, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.outer(self.sigma(self.inner(x)))
        return x + added


def insert_block(net: nn.Sequential, place: int, block: ResidualBlock) -> nn.Sequential:
    """A copy with a residual block before module `place`; a block with zero output leaves the
    function as it is.

    Every module keeps its mode; the block takes that of the net.

    Raises:
        TypeError: no plain nn.Sequential.  ValueError: place outside 0..len(net).

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> x, deep = torch.ones(4, 2), insert_block(net, 2, null_block(3, 5, "relu"))
    >>> torch.equal(deep(x), net(x))
    True
    """
    _check_place(net, place)
    modules = list(copy.deepcopy(net))
    modules.insert(place, copy.deepcopy(block).train(net.training))
    deep = nn.Sequential(*modules)
    deep.training = net.training
    return deep


def stream_at(net: nn.Sequential, place: int, x: Tensor) -> Tensor:
    """What module `place` receives for the inputs x, without touching running statistics or x.

    Raises:
        TypeError: no plain nn.Sequential.
        ValueError: place outside 0..len(net), or dropout is active before it.

    >>> stream_at(nn.Sequential(nn.ReLU(), nn.Linear(1, 1)), 1, torch.tensor([[-1.0]]))
    tensor([[0.]])
    """
    _check_place(net, place)
    check_samples(x)
    before = copy.deepcopy(net[:place])
    check_deterministic(before)
    with torch.no_grad():
        stream: Tensor = before(x.detach().clone())
    return stream


def _check_place(net: nn.Sequential, place: int) -> None:
    if type(net) is not nn.Sequential:
        raise TypeError(
            f"net is {type(net).__name__}: expected a plain nn.Sequential, whose data flow is known"
        )
    check_plain(net)
    check_index("place", place)
    if not 0 <= place <= len(net):
        raise ValueError(f"place {place} outside 0..{len(net)}")


def zero_output_block(
    width: int,
    hidden: int,
    activation: str | Activation,
    *,
    generator: Randomness = None,
    dtype: torch.dtype | None = None,
) -> ResidualBlock:
    """A residual block with V = 0, c = 0 and Gaussian U, b: keeps the function, but is not critical
    in general.

    dR/dV = sum_i e_i sigma(U x_i + b)^T with e = dR/d(stream): the shallow net's criticality says
    nothing about it.

    >>> int(zero_output_block(2, 3, "relu", generator=0).outer.weight.count_nonzero())
    0
    """
    block = null_block(width, hidden, activation, dtype=dtype)
    source = source_of(generator, "zero_output_block")
    with torch.no_grad():
        for p in block.inner.parameters():
            p.copy_(torch.randn(p.shape, generator=source, dtype=p.dtype))
    return block


def null_block(
    width: int,
    hidden: int,
    activation: str | Activation,
    *,
    bias: float = 1.0,
    dtype: torch.dtype | None = None,
) -> ResidualBlock:
    """A residual block with U = V = 0, c = 0 and a constant bias b: critical where e sums to 0 over
    the sample.

    dR/dV = (sum_i e_i) sigma(b)^T and dR/dc = sum_i e_i, all other derivatives are 0. At a critical
    point the sum is 0 when any bias is added to the stream, before the block or after it, or the
    stream's reader has one.

    >>> int(null_block(2, 3, "relu").inner.weight.count_nonzero())
    0
    """
    block = _undrawn(width, hidden, activation, dtype)
    with torch.no_grad():
        for p in block.parameters():
            p.zero_()
        block.inner.bias.fill_(bias)
    return block


def linearised_block(
    width: int,
    hidden: int,
    activation: str | Activation,
    stream: Tensor,
    *,
    generator: Randomness = None,
) -> ResidualBlock:
    """A residual block that is affine on the data and adds nothing: V diag(slope) U = 0, V (slope *
    b + shift) + c = 0.

    dR/dV = (sum e x^T) U^T diag(slope) + (sum e)(slope * b + shift)^T, dR/dU = diag(slope) V^T (sum
    e x^T), and both sums vanish at a critical point whose stream a Linear with bias reads: critical
    at every place of the stream. An affine map of the stream can be carried to the reader by a
    change of basis (U -> U G^-1, V -> G V), so the block merges like any other lift: n+ and n- stay
    and the corank grows by the block's parameters.

    Args:
        stream: the stream's values on S before the block, (n, width);  hidden: >= width.

    >>> x = torch.eye(2, dtype=torch.float64)
    >>> block = linearised_block(2, 3, "relu", x, generator=0)
    >>> bool((block(x) - x).abs().max() < 1e-14)
    True
    """
    check_samples(stream)
    zero = stream.new_zeros(width, width)
    source = source_of(generator, "linearised_block")
    parts = factor(zero, zero[0], stream, hidden, get(activation), generator=source)
    block = _undrawn(width, hidden, activation, stream.dtype)
    with torch.no_grad():
        block.inner.weight.copy_(parts.weight_in)
        block.inner.bias.copy_(parts.bias_in)
        block.outer.weight.copy_(parts.weight_out)
        block.outer.bias.copy_(parts.bias_out)
    return block


def _undrawn(
    width: int, hidden: int, activation: str | Activation, dtype: torch.dtype | None
) -> ResidualBlock:
    """A block whose weights are still to be set; torch's random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        return ResidualBlock(width, hidden, activation, dtype)
