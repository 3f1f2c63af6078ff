"""Every net of a path on all images: straight in weight space, or given nets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from lib.mixture.curve import Path
from lib.mixture.dense import dense, small_maps
from lib.vgg.chain import Chain
from lib.vgg.regulariser import penalty

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
        kind, weight: of the regulariser, see `lib.vgg.penalty`.
        method: "lanes": points side by side, one a thread, in the memory order that convolutions want (fastest on
            CPUs); "vmap": a chunk of points as one batched net (`torch.func`, for GPUs); "loop": one point after the
            other, the reference; "auto" chooses by device.
        batch: images at a time.
        threads: of "lanes"; by default `torch.get_num_threads()`.
    Returns:
        The path.
    Raises:
        ValueError: nets of different shapes, unknown method, images and labels that do not match.
    Source: (Gu et al. 2020, Fig. 3b left).

    >>> from lib.vgg import VGG, initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), seed=s) for s in (0, 1)]
    >>> x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> weight_path(*nets, x, torch.arange(6), gammas=3).losses.shape
    torch.Size([3, 6])
    """
    _check(net1, net2, images, labels, method)
    at = torch.linspace(0, 1, gammas, dtype=torch.float64) if isinstance(gammas, int) else gammas.double()
    if method == "auto":
        method = "lanes" if images.device.type == "cpu" else "vmap"
    ends = [[p.detach() for p in net.parameters()] for net in (net1, net2)]
    with torch.no_grad():
        if method == "vmap":
            losses, correct = _batched(net1, ends, at, images, labels, batch)
            regulariser = torch.stack([penalty(_at(copy.deepcopy(net1), ends, float(g)), kind) for g in at])
        else:
            lanes = (threads or torch.get_num_threads()) if method == "lanes" else 1
            losses, correct, regulariser = _pointwise(
                lambda net, g: _at(net, ends, float(g)), net1, at, images, labels, kind, batch, lanes, method == "lanes"
            )
    return Path(at, losses, correct, regulariser.double(), weight)


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
            rows.append((*_evaluate(runner, _blocks(images, labels, batch)), penalty(runner, kind)))
    losses, correct, regulariser = (torch.stack(column) for column in zip(*rows, strict=True))
    return Path(torch.as_tensor(gammas, dtype=torch.float64), losses, correct, regulariser.double(), weight)


def _pointwise(point: Callable, template: Chain, at: Tensor, images, labels, kind, batch, lanes: int, nhwc: bool):
    blocks = _blocks(images, labels, batch, nhwc)

    def lane(first: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        net = copy.deepcopy(template).eval()
        if nhwc:
            net = net.to(memory_format=torch.channels_last)
        with torch.no_grad():
            small = small_maps(net, images) if nhwc and images.dim() == 4 else {}
            return [(*_evaluate(point(net, g), blocks, small), penalty(net, kind)) for g in at[first::lanes]]

    if lanes == 1:
        rows = lane(0)
    else:
        # One thread a point scales better than all threads on one point; the count of each worker is its own.
        own = torch.get_num_threads()
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            done = list(pool.map(lane, range(lanes)))
        torch.set_num_threads(own)
        rows = [done[i % lanes][i // lanes] for i in range(len(at))]
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def _evaluate(net: Chain, blocks, small=None) -> tuple[Tensor, Tensor]:
    losses, correct = [], []
    matrices = {layer: (*dense(net.joint(layer), taps), size) for layer, (taps, size) in (small or {}).items()}
    for x, y in blocks:
        output = _forward(net, x, matrices)
        losses.append(functional.cross_entropy(output.double(), y, reduction="none"))
        correct.append(output.argmax(1) == y)
    return torch.cat(losses), torch.cat(correct)


def _forward(net: Chain, x: Tensor, matrices) -> Tensor:
    for layer, joint in enumerate(net.joints, start=1):
        if layer in matrices:
            weight, bias, size = matrices[layer]
            x = torch.addmm(bias, x.flatten(1), weight).unflatten(1, (joint.out_channels, *size))
        else:
            x = joint(x)
        if layer < net.depth:
            x = _activated(net.activations[layer - 1], x)
    return x


def _activated(h: nn.Module, g: Tensor) -> Tensor:
    # g is fresh from a joint and belongs to no one else: ReLU overwrites it, which spares a pass through memory
    if isinstance(h, nn.ReLU):
        return torch.relu_(g)
    if isinstance(h, nn.Sequential):
        for m in h:
            g = _activated(m, g)
        return g
    return h(g)


def _batched(net: Chain, ends, at: Tensor, images, labels, batch: int):
    skeleton = copy.deepcopy(net).eval()
    names = [name for name, _ in skeleton.named_parameters()]
    numbers = max(1, (1 << 26) // max(1, sum(p.numel() for p in ends[0])))  # points whose weights fill 256 MB
    rows = []
    for part in at.split(min(numbers, 16)):
        g = part.to(ends[0][0].dtype)
        weights = [b + g.reshape(-1, *(1,) * a.dim()) * (a - b) for a, b in zip(*ends, strict=True)]
        stacked = dict(zip(names, weights, strict=True))
        run = vmap(lambda p, x: functional_call(skeleton, p, (x,)), in_dims=(0, None))
        outputs = torch.cat([run(stacked, x) for x in images.split(batch)], 1).double()
        y = labels.expand(len(part), -1)
        losses = functional.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").reshape(y.shape)
        rows.append((losses, outputs.argmax(2) == y))
    return tuple(torch.cat(column) for column in zip(*rows, strict=True))


def _at(net: Chain, ends, gamma: float) -> Chain:
    for p, a, b in zip(net.parameters(), *ends, strict=True):
        p.data.copy_(b + gamma * (a - b))
    return net


def _blocks(images: Tensor, labels: Tensor, batch: int, nhwc: bool = False) -> list[tuple[Tensor, Tensor]]:
    parts = zip(images.split(batch), labels.split(batch), strict=True)
    if nhwc and images.dim() == 4:
        return [(x.contiguous(memory_format=torch.channels_last), y) for x, y in parts]
    return list(parts)


def _check(net1: Chain, net2: Chain, images: Tensor, labels: Tensor, method: str) -> None:
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in (net1, net2)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the nets differ in shape: expected weights that can be interpolated, of one architecture and width"
        )
    if method not in METHODS:
        raise ValueError(f"no method {method!r}: expected {', '.join(METHODS)}")
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(f"{len(images)} images and labels {tuple(labels.shape)}: expected n >= 1 and (n,)")
