"""Every net of a path on all images: straight in weight space, or given nets."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from lib.mixture import line
from lib.mixture.curve import Path
from lib.mixture.line_penalty import penalties
from lib.nets import Chain
from lib.train.sgd.regulariser import penalty

METHODS = ("auto", "lanes", "vmap", "loop")


def weight_path(
    net1: Chain,
    net2: Chain,
    images: Tensor,
    labels: Tensor,
    *,
    gammas: int | Tensor = 101,
    kind: str = "l12",
    weight: float = 1.0,
    method: str = "auto",
    batch: int = 256,
    threads: int | None = None,
) -> Path:
    """The nets gamma * theta_1 + (1 - gamma) * theta_2, all of them on all images.

    Args:
        net1, net2: of the same shapes.
        images: (n, ...);  labels: int64 (n,).
        gammas: how many evenly spaced in [0, 1], or the values themselves (P,), any real numbers.
        kind, weight: of the regulariser, see `lib.train.sgd.penalty`.
        method: "lanes": points side by side, one a thread, with all that is linear in the weights
            formed once (fastest on CPUs); "vmap": a chunk of points as one batched net
            (`torch.func`, for GPUs); "loop": one point after the other, the reference; "auto"
            chooses by device.
        batch: images at a time.
        threads: of "lanes"; by default `torch.get_num_threads()`.
    Returns:
        The path.
    Raises:
        ValueError: nets of different shapes, unknown method, images and labels that do not match,
            no gammas.
    Source: (Gu et al. 2020, Fig. 3b left).

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> weight_path(*nets, x, torch.arange(6), gammas=3).losses.shape
    torch.Size([3, 6])
    """
    _check(net1, net2, images, labels, method)
    at = (
        torch.linspace(0, 1, gammas, dtype=torch.float64)
        if isinstance(gammas, int)
        else gammas.double()
    )
    if at.dim() != 1 or len(at) == 0:
        raise ValueError(
            f"gammas of shape {tuple(at.shape)}: expected (P,) with P >= 1, or a number of points"
            " >= 1"
        )
    if method == "auto":
        method = "lanes" if images.device.type == "cpu" else "vmap"
    ends = [[p.detach() for p in net.parameters()] for net in (net1, net2)]
    blocks = images.split(batch)
    with torch.no_grad():
        if method == "loop":
            net = copy.deepcopy(net1).eval()
            points = (_at(net, ends, float(g)) for g in at)
            rows = [
                (torch.cat([point(x) for x in blocks]), penalty(point, kind)) for point in points
            ]
            outputs, regulariser = map(torch.stack, zip(*rows, strict=True))
        else:
            regulariser = penalties(net1, net2, at, kind)
            if method == "lanes":
                lanes = min(len(at), threads or torch.get_num_threads())
                outputs = line.outputs(net1, net2, at, blocks, lanes)
            else:
                outputs = _batched(net1, ends, at, blocks)
    return Path(at, *_scores(outputs, labels), regulariser.double().to(outputs.device), weight)


def measure(
    nets: Sequence[Chain],
    gammas: Sequence[float] | Tensor,
    images: Tensor,
    labels: Tensor,
    *,
    kind: str = "l12",
    weight: float = 1.0,
    batch: int = 64,
) -> Path:
    """A path of given nets, e.g. of mixtures.

    Args:
        nets: P nets;  gammas: where they stand, (P,).
        The others as for `weight_path`.
    Raises:
        ValueError: not one gamma a net, images and labels that do not match.
    """
    if len(nets) != len(gammas) or not nets:
        raise ValueError(f"got {len(nets)} nets and {len(gammas)} gammas: expected one a net")
    _check(nets[0], nets[0], images, labels, "lanes")
    rows = []
    with torch.no_grad():
        for net in nets:
            runner = copy.deepcopy(net).eval()
            output = torch.cat([_forward(runner, x) for x in images.split(batch)])
            rows.append((*_scores(output, labels), penalty(runner, kind)))
    losses, correct, regulariser = (torch.stack(column) for column in zip(*rows, strict=True))
    return Path(
        torch.as_tensor(gammas, dtype=torch.float64), losses, correct, regulariser.double(), weight
    )


def _forward(net: Chain, x: Tensor) -> Tensor:
    for joint, h in zip(net.joints, [*net.activations, nn.Identity()], strict=True):
        x = line.activated(h, joint(x))
    return x


def _scores(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy and correctness of every image, for outputs (..., n, classes)."""
    y = labels.expand(outputs.shape[:-1])
    losses = functional.cross_entropy(
        outputs.double().flatten(0, -2), y.flatten(), reduction="none"
    )
    return losses.reshape(y.shape), outputs.argmax(-1) == y


def _batched(net: Chain, ends, at: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    skeleton = copy.deepcopy(net).eval()
    names = [name for name, _ in skeleton.named_parameters()]
    run = vmap(lambda p, x: functional_call(skeleton, p, (x,)), in_dims=(0, None))
    numbers = max(
        1, (1 << 26) // max(1, sum(p.numel() for p in ends[0]))
    )  # points whose weights fill 256 MB
    rows = []
    for part in at.split(min(numbers, 16)):
        g = part.to(ends[0][0])
        weights = [b + g.reshape(-1, *(1,) * a.dim()) * (a - b) for a, b in zip(*ends, strict=True)]
        stacked = dict(zip(names, weights, strict=True))
        rows.append(torch.cat([run(stacked, x) for x in blocks], 1))
    return torch.cat(rows)


def _at(net: Chain, ends, gamma: float) -> Chain:
    for p, a, b in zip(net.parameters(), *ends, strict=True):
        p.data.copy_(b + gamma * (a - b))
    return net


def _check(net1: Chain, net2: Chain, images: Tensor, labels: Tensor, method: str) -> None:
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in (net1, net2)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the nets differ in shape: expected weights that can be interpolated, of one"
            " architecture and width"
        )
    if method not in METHODS:
        raise ValueError(f"no method {method!r}: expected {', '.join(METHODS)}")
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(
            f"{len(images)} images and labels {tuple(labels.shape)}: expected n >= 1 and (n,)"
        )
