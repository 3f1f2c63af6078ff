"""Ordinary nets as points of the feature space of Theorem 1, and back; two nets on one common
space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.convex.space import Point, Space, Stage
from lib.joint.geometry import Geometry, with_bias
from lib.nets import MLP, Chain, to_sequential
from lib.nets.chain import as_chain


def from_net(net: Chain | nn.Sequential | MLP, x: Tensor) -> tuple[Space, Point]:
    """The point of Theorem 1 that a discrete net is: its m_l neurons are the atoms, each of mass 1
    / m_l.

    With the net's weights W = w / m_{l-1} (the paper's w scales the sum over inputs by 1 /
    m_{l-1}), w~ = W / m_l,  b~ = b / m_l,  u~ = U.

    Args:
        net: linear or convolutional joints without groups, float64; dropout is left out.
        x: inputs (N, C, ...).
    Returns:
        Its feature space on x and the point; `convex_objective` there is the paper's objective of
        the discrete net.
    Raises:
        TypeError: a joint that is neither `nn.Linear` nor `nn.Conv2d`, or a net that `as_chain`
            refuses.
        ValueError: a net without hidden layer, grouped convolutions, or inputs that do not fit.
    Source: (Gu et al. 2020, Sec. 3 and Eq. 4-5).

    >>> from lib.nets import init
    >>> space, point = from_net(init((2, 3, 1), generator=0), torch.ones(4, 2, dtype=torch.float64))
    >>> space.sizes, point.p[0]
    ((2, 3), tensor([0.3333, 0.3333, 0.3333], dtype=torch.float64))
    """
    net = _as_chain(net)
    with torch.no_grad():
        x = net.features(x, 0)[0]
    stages: list[Stage] = []
    weights, biases, atoms = [], [], [x]
    for layer in range(1, net.depth + 1):
        joint = net.joint(layer)
        linear = _linear(joint, layer)
        both = with_bias(joint)
        w, b = both[:, :-1].reshape(len(both), atoms[-1].shape[1], -1), both[:, -1].clone()
        stages.append(
            Stage(
                nn.Identity() if layer == 1 else _plain(net.activations[layer - 2]),
                linear,
                w.shape[2],
            )
        )
        weights.append(w)
        biases.append(b)
        with torch.no_grad():
            g = linear(stages[-1].before(atoms[-1]), w)
        atoms.append(g + b.reshape(1, -1, *(1,) * (g.dim() - 2)))
    m = [v.shape[1] for v in atoms[1:-1]]
    point = Point(
        tuple(torch.full((size,), 1 / size, dtype=x.dtype) for size in m),
        tuple(w / size for w, size in zip(weights[:-1], m, strict=True)),
        tuple(b / size for b, size in zip(biases[:-1], m, strict=True)),
        weights[-1].clone(),
        biases[-1],
    )
    return Space(x, tuple(atoms[1:-1]), tuple(stages)), point


def union(first: tuple[Space, Point], second: tuple[Space, Point]) -> tuple[Space, Point, Point]:
    """Both points on the union of their atoms: each has no mass, and no weights, on the other's.

    Args:
        first, second: as `from_net` returns them, on the same inputs, of nets that differ in
            weights and widths only.
    Returns:
        The common space and the two points.
    Raises:
        ValueError: other inputs, depths or shapes.
    """
    (sa, a), (sb, b) = first, second
    same = sa.depth == sb.depth and all(
        s.taps == t.taps for s, t in zip(sa.stages, sb.stages, strict=True)
    )
    if not same or not torch.equal(sa.x, sb.x) or a.u.shape[0] != b.u.shape[0]:
        raise ValueError(
            "the points live on other inputs, depths, kernels or outputs: expected nets of one"
            " architecture on one x"
        )
    atoms = tuple(torch.cat([v, w], 1) for v, w in zip(sa.atoms, sb.atoms, strict=True))
    space = Space(sa.x, atoms, sa.stages)
    return space, _padded(a, sb.sizes, before=False), _padded(b, sa.sizes, before=True)


def to_net(
    space: Space,
    point: Point,
    template: Chain | nn.Sequential | MLP,
    widths: Sequence[int],
    *,
    generator: torch.Generator | None = None,
) -> Chain:
    """An ordinary net of given widths whose neurons are copies of the atoms, in numbers
    proportional to their mass.

    Neurons j, k get the weight w(v_j, v_k) / m_{l-1} with w = w~ / (p p'): exact when every m_l p
    is a whole number, otherwise an approximation that improves as 1 / m (rounding) or 1 / sqrt(m)
    (sampling).

    Args:
        template: a net of the architecture; its joints say kernel, stride and padding.
        widths: m_1 .. m_L.
        generator: to sample the atoms from p; without one, whole numbers by largest remainder.
    Returns:
        The net, float64; with the masses exactly representable, `from_net` of it is the point with
        its atoms repeated.
    Raises:
        ValueError: other than L positive widths.
    Source: (Gu et al. 2020, Sec. 5.1, discussion).
    """
    if len(widths) != space.depth or min(widths) < 1:
        raise ValueError(f"widths are {tuple(widths)}: expected {space.depth} numbers >= 1")
    net = _as_chain(template)
    drawn = [
        torch.arange(space.sizes[0]),
        *(_draw(p, m, generator) for p, m in zip(point.p, widths, strict=True)),
    ]
    mass = [torch.ones(space.sizes[0], dtype=torch.float64) / space.sizes[0], *point.p]
    joints = []
    for layer, joint in enumerate(net.joints, start=1):
        rows, columns = drawn[layer] if layer <= space.depth else None, drawn[layer - 1]
        top = rows is None
        w = point.u if top else point.w[layer - 1][rows] / mass[layer][rows][:, None, None]
        b = point.c if top else point.b[layer - 1][rows] / mass[layer][rows]
        w = w[:, columns] / (mass[layer - 1][columns][:, None] * len(columns))
        shape = Geometry.of(joint)
        # behind a flattening every channel brings its pixels
        inputs = w[0].numel() if shape.linear else w.shape[1]
        shape = replace(shape, inputs=inputs, outputs=w.shape[0])
        joints.append(shape.build(w, b))
    return Chain(joints, list(net.activations))


def _draw(p: Tensor, m: int, generator: torch.Generator | None) -> Tensor:
    if generator is not None:
        return torch.multinomial(p, m, replacement=True, generator=generator).sort().values
    # m p of a mass that is k / m is k up to rounding: without the nudge its floor could be k - 1
    counts = (m * p + 1e-9).floor()
    left = m - int(counts.sum())
    counts[(m * p - counts).argsort(descending=True)[:left]] += 1
    return torch.repeat_interleave(torch.arange(len(p)), counts.long())


def _padded(point: Point, other: Sequence[int], *, before: bool) -> Point:
    def grow(t: Tensor, dim: int, size: int) -> Tensor:
        zeros = t.new_zeros(*t.shape[:dim], size, *t.shape[dim + 1 :])
        return torch.cat([zeros, t] if before else [t, zeros], dim)

    p = tuple(grow(t, 0, other[i + 1]) for i, t in enumerate(point.p))
    b = tuple(grow(t, 0, other[i + 1]) for i, t in enumerate(point.b))
    w = [grow(t, 0, other[i + 1]) for i, t in enumerate(point.w)]
    # the inputs are shared
    wider = tuple(t if i == 0 else grow(t, 1, other[i]) for i, t in enumerate(w))
    return Point(p, wider, b, grow(point.u, 1, other[-1]), point.c)


def _linear(joint: nn.Module, layer: int) -> Callable[[Tensor, Tensor], Tensor]:
    shape = Geometry.of(joint)
    if shape.groups != 1:
        raise ValueError(f"joint {layer} has {shape.groups} groups: expected 1")
    if shape.linear:
        return lambda f, w: functional.linear(f.flatten(1), w.flatten(1))
    top, bottom, left, right = shape.padding

    def convolve(f: Tensor, w: Tensor) -> Tensor:
        padded, kernel = (
            functional.pad(f, (left, right, top, bottom)),
            w.reshape(*w.shape[:2], *shape.kernel),
        )
        return functional.conv2d(padded, kernel, None, shape.stride, 0, shape.dilation)

    return convolve


def _as_chain(net: Chain | nn.Sequential | MLP) -> Chain:
    if isinstance(net, MLP):
        modules = list(to_sequential(net))
        net = Chain(modules[0::2], modules[1::2])
    chain = as_chain(net)
    if chain.depth < 2:
        raise ValueError("the net has no hidden layer: expected at least one")
    if not isinstance(_plain(chain.after), nn.Identity):
        raise ValueError(f"{chain.after} follows the last layer: expected nothing behind it")
    return chain


def _plain(h: nn.Module) -> nn.Module:
    # Flattening is left to the linear map, which knows the kernel elements; dropout is no part of
    # h.
    if isinstance(h, nn.Sequential):
        kept = [m for m in map(_plain, h) if not isinstance(m, nn.Identity)]
        return nn.Sequential(*kept) if kept else nn.Identity()
    return nn.Identity() if isinstance(h, (nn.Flatten, nn.Dropout)) else h
