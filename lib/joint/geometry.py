"""What a joint does to its input, in numbers: kernel, stride, padding, dilation, groups; fully
connected is 1x1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

Pair = tuple[int, int]


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
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    linear: bool = False

    @classmethod
    def of(cls, joint: nn.Module) -> Geometry:
        """The geometry of a joint.

        Raises:
            TypeError: neither `nn.Linear` nor `nn.Conv2d`, or a convolution padded by anything but
                zeros.

        >>> Geometry.of(nn.Conv2d(4, 6, 3, padding="same")).padding
        (1, 1, 1, 1)
        """
        if type(joint) is nn.Linear:
            return cls(joint.in_features, joint.out_features, linear=True)
        if type(joint) is not nn.Conv2d:
            raise TypeError(
                f"the joint is {type(joint).__name__}: expected Linear or Conv2d, linear in their"
                " weights"
            )
        if joint.padding_mode != "zeros":
            raise TypeError(f"the convolution pads by {joint.padding_mode!r}: expected 'zeros'")
        kernel, stride, dilation = (
            _pair(p) for p in (joint.kernel_size, joint.stride, joint.dilation)
        )
        padding = _padding(joint.padding, kernel, dilation)
        channels = joint.in_channels, joint.out_channels
        return cls(*channels, kernel, stride, padding, dilation, joint.groups)

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def unknowns(self) -> int:
        """Inputs of one output: channels of its group times taps, the bias not counted."""
        return self.inputs // self.groups * self.taps

    def output_size(self, height: int, width: int) -> Pair:
        """Rows and columns of the output for an input of that size.

        Raises:
            ValueError: the kernel does not fit.

        >>> Geometry(1, 1, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)).output_size(8, 7)
        (4, 4)
        """
        top, bottom, left, right = self.padding
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        full = height + top + bottom, width + left + right
        if full[0] < reach[0] or full[1] < reach[1]:
            raise ValueError(
                f"the kernel spans {reach}: a {height} x {width} input padded by {self.padding} is"
                " less"
            )
        rows, columns = ((f - r) // s for f, r, s in zip(full, reach, self.stride, strict=True))
        return rows + 1, columns + 1

    def with_inputs(self, inputs: int) -> Geometry:
        """The same joint for another number of input channels.

        Raises:
            ValueError: the groups do not divide them.
        """
        if inputs % self.groups:
            raise ValueError(
                f"{inputs} input channels do not split into the joint's {self.groups} groups"
            )
        return replace(self, inputs=inputs)

    def build(self, weight: Tensor, bias: Tensor | None) -> nn.Linear | nn.Conv2d:
        """A joint of this geometry with the given parameters.

        Args:
            weight: (outputs, inputs / groups * taps), any shape that reshapes to the joint's;
                bias: (outputs,) or None.

        >>> Geometry(2, 3, linear=True).build(torch.ones(3, 2), None)
        Linear(in_features=2, out_features=3, bias=False)
        """
        kind: type[nn.Module] = nn.Linear if self.linear else nn.Conv2d
        sizes: tuple[object, ...] = (self.inputs, self.outputs)
        if not self.linear:
            top, bottom, left, right = self.padding
            padding = (top, left) if (top, left) == (bottom, right) else "same"
            sizes += (self.kernel, self.stride, padding, self.dilation, self.groups)
        made = {"bias": bias is not None, "device": weight.device, "dtype": weight.dtype}
        joint = cast("nn.Linear | nn.Conv2d", skip_init(kind, *sizes, **made))  # draws nothing
        with torch.no_grad():
            joint.weight.copy_(weight.reshape(joint.weight.shape))
            if bias is not None:
                cast(Tensor, joint.bias).copy_(bias)
        return joint

    def as_maps(self, f: Tensor) -> Tensor:
        """The joint's input as (n, channels, rows, columns).

        Raises:
            ValueError: another number of channels or dimensions.
        """
        maps = f[:, :, None, None] if self.linear and f.dim() == 2 else f
        if maps.dim() != 4 or maps.shape[1] != self.inputs:
            wanted = f"(n, {self.inputs})" if self.linear else f"(n, {self.inputs}, rows, columns)"
            raise ValueError(f"the joint's input has shape {tuple(f.shape)}: expected {wanted}")
        return maps

    def unfold(self, maps: Tensor) -> Tensor:
        """The patches (n, channels * taps, positions) of maps (n, channels, rows, columns)."""
        top, bottom, left, right = self.padding
        padded = functional.pad(maps, (left, right, top, bottom))
        return functional.unfold(padded, self.kernel, self.dilation, 0, self.stride)


def with_bias(joint: nn.Linear | nn.Conv2d) -> Tensor:
    """The joint's parameters as (outputs, inputs / groups * taps + 1), the bias last.

    >>> with_bias(nn.Linear(2, 3, bias=False)).shape
    torch.Size([3, 3])
    """
    weight = joint.weight.detach().flatten(1)
    column = weight.new_zeros(len(weight)) if joint.bias is None else joint.bias.detach()
    return torch.cat([weight, column[:, None]], 1)


def _pair(values: tuple[int, ...]) -> Pair:
    rows, columns = values
    return rows, columns


def _padding(
    given: str | tuple[int, ...], kernel: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    if given == "valid":
        return (0, 0, 0, 0)
    if given == "same":
        down, right = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return (down // 2, down - down // 2, right // 2, right - right // 2)
    rows, columns = (int(p) for p in given)
    return (rows, rows, columns, columns)
