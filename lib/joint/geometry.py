"""What a joint does to its input, in numbers: kernel, stride, padding, dilation, groups; fully
connected is 1x1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """The shape of a linear joint; a fully connected one has a 1x1 kernel on 1x1 images.

    Args:
        inputs, outputs: channels;  groups: of channels that do not see one another.
        kernel, stride, dilation: (rows, columns).
        padding: zeros before and after, (top, bottom, left, right).
        linear: whether the joint is `nn.Linear`.
    """

    inputs: int
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    linear: bool = False

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def unknowns(self) -> int:
        """Inputs of one output: channels of its group times taps, the bias not counted."""
        return self.inputs // self.groups * self.taps

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output for an input of that size.

        Raises:
            ValueError: the kernel does not fit.

        >>> Geometry(1, 1, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)).output_size(8, 7)
        (4, 4)
        """
        reach = [self.dilation[i] * (self.kernel[i] - 1) + 1 for i in (0, 1)]
        full = (
            height + self.padding[0] + self.padding[1],
            width + self.padding[2] + self.padding[3],
        )
        if full[0] < reach[0] or full[1] < reach[1]:
            raise ValueError(
                f"the kernel spans {reach}: a {height} x {width} input padded by {self.padding} is"
                " less"
            )
        return (full[0] - reach[0]) // self.stride[0] + 1, (full[1] - reach[1]) // self.stride[
            1
        ] + 1

    def with_inputs(self, inputs: int) -> Geometry:
        """The same joint for another number of input channels.

        Raises:
            ValueError: the groups do not divide them.
        """
        if inputs % self.groups:
            raise ValueError(
                f"{inputs} input channels do not split into the joint's {self.groups} groups"
            )
        return Geometry(
            inputs,
            self.outputs,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.linear,
        )


def geometry(joint: nn.Module) -> Geometry:
    """The geometry of a joint.

    Raises:
        TypeError: neither `nn.Linear` nor `nn.Conv2d`, or a convolution padded by anything but
            zeros.

    >>> geometry(nn.Conv2d(4, 6, 3, padding="same")).padding
    (1, 1, 1, 1)
    """
    if type(joint) is nn.Linear:
        return Geometry(joint.in_features, joint.out_features, linear=True)
    if type(joint) is not nn.Conv2d:
        raise TypeError(
            f"the joint is {type(joint).__name__}: expected Linear or Conv2d, linear in their"
            " weights"
        )
    if joint.padding_mode != "zeros":
        raise TypeError(f"the convolution pads by {joint.padding_mode!r}: expected 'zeros'")
    if joint.padding == "same":
        reach = [d * (k - 1) for d, k in zip(joint.dilation, joint.kernel_size, strict=True)]
        padding = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    elif joint.padding == "valid":
        padding = (0, 0, 0, 0)
    else:
        padding = (joint.padding[0], joint.padding[0], joint.padding[1], joint.padding[1])
    return Geometry(
        joint.in_channels,
        joint.out_channels,
        joint.kernel_size,
        joint.stride,
        padding,
        joint.dilation,
        joint.groups,
    )


def build(shape: Geometry, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A joint of that geometry with the given parameters.

    Args:
        weight: (outputs, inputs / groups * taps), any shape that reshapes to the joint's;  bias:
            (outputs,) or None.

    >>> build(Geometry(2, 3, linear=True), torch.ones(3, 2), None)
    Linear(in_features=2, out_features=3, bias=False)
    """
    if shape.linear:
        joint: nn.Module = nn.Linear(shape.inputs, shape.outputs, bias=bias is not None)
    else:
        top, bottom, left, right = shape.padding
        padding = (top, left) if (top, left) == (bottom, right) else "same"
        sizes = (
            shape.inputs,
            shape.outputs,
            shape.kernel,
            shape.stride,
            padding,
            shape.dilation,
            shape.groups,
        )
        joint = nn.Conv2d(*sizes, bias=bias is not None)
    joint = joint.to(weight.device, weight.dtype)
    with torch.no_grad():
        joint.weight.copy_(weight.reshape(joint.weight.shape))
        if bias is not None:
            joint.bias.copy_(bias)
    return joint


def as_maps(f: Tensor, shape: Geometry) -> Tensor:
    """A joint's input as (n, channels, rows, columns).

    Raises:
        ValueError: another number of channels or dimensions.
    """
    maps = f[:, :, None, None] if shape.linear and f.dim() == 2 else f
    if maps.dim() != 4 or maps.shape[1] != shape.inputs:
        wanted = f"(n, {shape.inputs})" if shape.linear else f"(n, {shape.inputs}, rows, columns)"
        raise ValueError(f"the joint's input has shape {tuple(f.shape)}: expected {wanted}")
    return maps


def unfold(maps: Tensor, shape: Geometry) -> Tensor:
    """The unfolded patches (n, channels * taps, positions) of maps (n, channels, rows, columns)."""
    top, bottom, left, right = shape.padding
    padded = functional.pad(maps, (left, right, top, bottom))
    return functional.unfold(padded, shape.kernel, shape.dilation, 0, shape.stride)
