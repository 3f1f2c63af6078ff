"""Random nets, and where their randomness comes from."""

from __future__ import annotations

import math
import numbers
import secrets
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.nets.activations import Activation
from lib.nets.checks import check_count
from lib.nets.mlp import MLP

Randomness = torch.Generator | int | None


def source_of(generator: Randomness, what: str) -> torch.Generator:
    """The generator itself, or a new one that starts from a seed.

    Without either the seed is a fresh one, and a warning names it, so that no two calls give the
    same draw in silence. The global random state of torch is neither used nor changed.

    Raises:
        TypeError: neither a generator, an int nor None.

    >>> source_of(7, "init").initial_seed()
    7
    """
    if isinstance(generator, torch.Generator):
        return generator
    if generator is None:
        seed = secrets.randbelow(2**31)
        message = f"{what} drew with the fresh seed {seed}: pass generator={seed} for the same draw"
        warnings.warn(message, stacklevel=3)
        return torch.Generator().manual_seed(seed)
    if isinstance(generator, bool) or not isinstance(generator, numbers.Integral):
        raise TypeError(f"generator is {generator!r}: expected a torch.Generator or an int seed")
    return torch.Generator().manual_seed(int(generator))


def init(
    widths: Sequence[int],
    activation: str | Activation = "tanh",
    *,
    std: float = 1.0,
    batch: Sequence[int] = (),
    bias: bool = True,
    output_bias: bool = True,
    generator: Randomness = None,
    dtype: torch.dtype = torch.float64,
) -> MLP:
    """Nets with every parameter drawn from N(0, std^2), as in both papers on embedding (Zhang et
    al. 2021, App. B).

    Args:
        widths: (m_0, ..., m_L).
        std: standard deviation of every parameter (the papers quote the variance).
        batch: shape of the batch of nets.
        bias: hidden layers have biases;  output_bias: so has the output layer (needs `bias`).
        generator: source of randomness, or a seed; without it a fresh seed, named by a warning.

    Raises:
        ValueError: fewer than two widths, a width < 1, or std < 0.

    >>> init((1, 3, 1), batch=(200,), output_bias=False, generator=0)
    MLP((200,) x 1-3-1, tanh, 9 parameters)
    """
    widths, std = [check_count("a width", w) for w in widths], float(std)
    if len(widths) < 2:
        raise ValueError(f"widths {tuple(widths)}: expected at least two")
    if not 0 <= std < math.inf:
        raise ValueError(f"std is {std}: expected a finite number >= 0")
    source = source_of(generator, "init")

    def draw(*shape: int) -> Tensor:
        return std * torch.randn(*batch, *shape, generator=source, dtype=dtype)

    depth = len(widths) - 1
    weights: list[Tensor] = []
    biases: list[Tensor | None] = []
    for layer in range(1, depth + 1):
        weights.append(draw(widths[layer], widths[layer - 1]))
        has = bias and (layer < depth or output_bias)
        biases.append(draw(widths[layer]) if has else None)
    return MLP(weights, biases, activation)
