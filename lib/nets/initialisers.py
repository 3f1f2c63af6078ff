"""Initial weights: the initialisers of Gu et al. (2020, Sec. 6.2) as their code has them and as the
paper names them.

The paper names `he_normal` and `he_uniform`. The code's "uniform" has variance 1 / fan_in, half of
He et al. (2015), and uses the normal one in the convolutional layers 4, 8 and 12. Both are here, so
that the difference can be measured."""

from __future__ import annotations

import math

import torch
from torch import nn

from lib.nets.drawing import Randomness, source_of
from lib.nets.kinds import Joint
from lib.nets.vgg import VGG

INITIALISERS = ("code_normal", "code_uniform", "he_normal", "he_uniform")
_NORMAL_WITHIN_UNIFORM = (4, 8, 12)


def initialise(net: VGG, how: str = "code_normal", *, generator: Randomness = None) -> VGG:
    """Draw the weights of a net, in place; biases are zero.

    With n = fan_in of a convolution (channels x kernel height x kernel width), its weights are

    - code_normal: normal of variance 1.3 * 2 / n, truncated at two of its standard deviations
      (variance 2 / n after truncation, up to 1%), the TensorFlow initialiser of the authors;
    - code_uniform: uniform on +-sqrt(3 / n), variance 1 / n; layers 4, 8 and 12 as code_normal;
    - he_normal: normal of variance 2 / n;
    - he_uniform: uniform on +-sqrt(6 / n), variance 2 / n.

    Fully connected weights are uniform on +-sqrt(6 / (fan_in + fan_out)) in every case, as in the
    code.

    Args:
        net: the net to fill.
        how: one of `INITIALISERS`.
        generator: source of the draws, or a seed, which gives the same weights on every device;
            without it a fresh seed, named by a warning.
    Returns:
        The same net.
    Raises:
        ValueError: unknown initialiser.

    Source: (Gu et al. 2020, Sec. 6.2) and the authors' code; (He et al. 2015); (Glorot and Bengio
        2010).

    >>> w = initialise(VGG(width=0.25), "code_uniform", generator=0).joint(2).weight
    >>> bool(w.abs().max() <= math.sqrt(3 / (16 * 9)))
    True
    """
    if how not in INITIALISERS:
        raise ValueError(f"no initialiser {how!r}: expected {', '.join(INITIALISERS)}")
    source = source_of(generator, "initialise")
    with torch.no_grad():
        for layer in range(1, net.depth + 1):
            draw_joint(net.joint(layer), how, layer=layer, generator=source)
    return net


def draw_joint(joint: Joint, how: str, *, layer: int, generator: torch.Generator) -> None:
    """Draw the weights of one joint in place, as `initialise` does for that layer.

    Args:
        joint: `nn.Conv2d` or `nn.Linear`;  how: one of `INITIALISERS`.
        layer: its number, which matters for code_uniform.
        generator: on the CPU.

    >>> joint, source = nn.Linear(4, 2), torch.Generator().manual_seed(0)
    >>> draw_joint(joint, "he_normal", layer=1, generator=source)
    >>> bool(joint.bias.abs().max() == 0)
    True
    """
    weight = torch.empty(joint.weight.shape, dtype=joint.weight.dtype)
    fan_in = weight[0].numel()
    with torch.no_grad():
        if isinstance(joint, nn.Linear):
            bound = math.sqrt(6 / (fan_in + weight.shape[0]))
            weight.uniform_(-bound, bound, generator=generator)
        elif how == "code_uniform" and layer not in _NORMAL_WITHIN_UNIFORM:
            bound = math.sqrt(3 / fan_in)
            weight.uniform_(-bound, bound, generator=generator)
        elif how in ("code_normal", "code_uniform"):
            std = math.sqrt(1.3 * 2 / fan_in)
            nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)
        elif how == "he_normal":
            weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)
        elif how == "he_uniform":
            bound = math.sqrt(6 / fan_in)
            weight.uniform_(-bound, bound, generator=generator)
        else:
            raise ValueError(f"no initialiser {how!r}: expected {', '.join(INITIALISERS)}")
        joint.weight.copy_(weight)
        if joint.bias is not None:
            joint.bias.zero_()
