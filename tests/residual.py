"""Residual nets for the tests: a ResNet of the CIFAR kind, and random graphs."""

from __future__ import annotations

import random

import torch
from draws import seeded
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions and a shortcut: option B a 1x1 convolution, option A slices and zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.extra = (outputs - inputs) // 2
        self.shortcut = nn.Sequential()
        if stride > 1 and option == "B":
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.sliced = stride > 1 and option == "A"

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.sliced:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        out += self.shortcut(x)
        return functional.relu(out)


class ResNet20(nn.Module):
    """Three stages of three blocks of 2 convolutions (He et al. 2016, Sec. 4.2)."""

    def __init__(self, width: int = 16, option: str = "B", blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, inputs = [], width
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            strides = [1 if stage == 0 else 2] + [1] * (blocks - 1)
            own = []
            for stride in strides:
                own.append(Block(inputs, outputs, stride, option))
                inputs = outputs
            stages.append(nn.Sequential(*own))
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = functional.avg_pool2d(out, out.size()[3])
        return self.linear(out.view(out.size(0), -1))


def shaken(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in float64 and eval mode, with statistics and parameters of its norms drawn."""
    draws = seeded(seed)
    for module in net.double().eval().modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = torch.rand(module.num_features, generator=draws, dtype=torch.float64) + 0.5
                getattr(module, name).data.copy_(value if name != "running_mean" else value - 1)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            value = torch.randn(module.weight.shape, generator=draws, dtype=torch.float64)
            module.weight.data.copy_(value / module.weight[0].numel() ** 0.5)
    return net


KINDS = (
    "conv", "conv", "norm", "relu", "tanh", "sum", "sum", "sum", "join", "product", "pool",
    "depthwise", "grouped", "prelu", "slice", "again",
)  # fmt: skip


class Drawn(nn.Module):
    """A random graph of convolutions, sums, products, concatenations, norms, pools, activations,
    and a slice here and there; its last tensor goes through a dense layer."""

    SIDE = 4

    def __init__(self, draw: random.Random, steps: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        self.steps: list[tuple[str, tuple[int, ...], int]] = []
        self.shapes = [(2, self.SIDE)]
        self._add("conv", (0,), draw.choice((2, 3, 4)), 3)
        for _ in range(steps):
            self._draw(draw)
        width, side = self.shapes[-1]
        self.pooled = draw.random() < 0.5
        self.head = nn.Linear(width * (1 if self.pooled else side**2), 3)

    def _add(self, kind: str, of: tuple[int, ...], width: int, kernel: int = 3) -> None:
        inputs, side = self.shapes[of[0]]
        made = {
            "conv": lambda: nn.Conv2d(inputs, width, kernel, padding=kernel // 2),
            "depthwise": lambda: nn.Conv2d(inputs, width, 3, padding=1, groups=inputs),
            "grouped": lambda: nn.Conv2d(inputs, width, 3, padding=1, groups=2),
            "norm": lambda: nn.BatchNorm2d(width),
            "prelu": lambda: nn.PReLU(width),
            "relu": lambda: nn.ReLU(inplace=True),
            "tanh": nn.Tanh,
            "pool": lambda: nn.MaxPool2d(2),
        }
        self.steps.append((kind, of, len(self.parts)))
        if kind in made:
            self.parts.append(made[kind]())
        self.shapes.append((width, side // 2 if kind == "pool" else side))

    def _draw(self, draw: random.Random) -> None:
        kind = draw.choice(KINDS)
        first = draw.choice((len(self.shapes) - 1, draw.randrange(1, len(self.shapes))))
        width, side = self.shapes[first]
        alike = [i for i, shape in enumerate(self.shapes) if shape == (width, side) and i]
        beside = [i for i, shape in enumerate(self.shapes) if shape[1] == side and i]
        if kind == "conv":
            self._add(kind, (first,), draw.choice((2, 3, width)), draw.choice((1, 3)))
        elif kind in ("sum", "product"):
            self._add(kind, (first, draw.choice(alike)), width)
        elif kind == "join":
            other = draw.choice(beside)
            self._add(kind, (first, other), width + self.shapes[other][0])
        elif kind == "again":  # a convolution that has acted before
            old = [
                (number, step)
                for number, step in enumerate(self.steps)
                if step[0] == "conv" and self.shapes[step[1][0]] == (width, side)
            ]
            if old:
                number, step = draw.choice(old)
                self.steps.append(("conv", (first,), step[2]))
                self.shapes.append(self.shapes[number + 1])
        elif kind == "slice":
            self._add(kind, (first,), width - width // 2)
        elif (kind != "grouped" or width % 2 == 0) and (kind != "pool" or side > 1):
            self._add(kind, (first,), width)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for kind, of, part in self.steps:
            given = [values[i] for i in of]
            if kind == "sum":
                values.append(given[0] + given[1])
            elif kind == "product":
                values.append(given[0] * given[1])
            elif kind == "join":
                values.append(torch.cat(given, 1))
            elif kind == "slice":
                values.append(given[0][:, ::2])
            else:
                # what works in place would overwrite a value that others read
                values.append(self.parts[part](given[0].clone()))
        last = values[-1].mean((2, 3)) if self.pooled else torch.flatten(values[-1], 1)
        return self.head(last)
