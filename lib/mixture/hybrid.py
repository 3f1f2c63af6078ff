"""Mixtures of nets in feature-distribution space: Algorithm 2 of Gu et al. (2020), each layer
solved exactly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.joint.geometry import Geometry
from lib.mixture.assembly import Growing, Mixture, Teachers
from lib.mixture.between_weights import outline
from lib.mixture.channels import candidates, chosen
from lib.mixture.options import MixtureOptions
from lib.mixture.top import refit_top
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.drawing import source_of
from lib.nets.kinds import Joint
from lib.nets.samples import Data, check_alone, in_batches, whole

END = 1e-4  # mean square of what a net may differ from itself, over its variance


def mix(
    net1: Chain | nn.Sequential,
    net2: Chain | nn.Sequential,
    x: Data,
    gamma: float,
    options: MixtureOptions | None = None,
    *,
    generator: torch.Generator | int,
    y: Tensor | None = None,
    weight: float = 1.0,
) -> Mixture:
    """The net whose features are gamma parts of net1's and 1 - gamma parts of net2's, layer by
    layer.

    In layer l it has width * m_l channels: floor(gamma M_l) drawn from net1, the others from net2.
    Its weights make its pre-activations those of the channels drawn, in the least-squares sense
    over the data, linear in the weights.

    Args:
        net1, net2: nets of one architecture (Chain or nn.Sequential), in any precision, whose
            activations hold neither parameters nor statistics.
        x: images (n, ...), or batches of them;  gamma: the share of net1, in [0, 1].
        options: width, inputs, ridge and draws.
        generator: of the draws of channels, or its seed; the same seed for all gamma gives nested
            draws.
        y: classes, int64 (n,): the last layer then minimises cross entropy + weight * l_{1,2} on
            (x, y), as the authors do; without them the outputs match gamma f_1 + (1 - gamma) f_2,
            the mixture of Theorem 1.
        weight: of the l_{1,2} penalty of the last layer.
    Returns:
        The mixture as `Chain`, in float64 if all nets are, else in float32.
    Raises:
        TypeError, ValueError: nets of different architecture, modules between joints that belong to
            single channels, or an argument outside its range.
    Source: (Gu et al. 2020, Sec. 6.2 and Alg. 2).

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> mix(*nets, x, 0.5, generator=0).net.joint(1)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}: expected in [0, 1]")
    shares = [(float(gamma), 1 - float(gamma))]
    return mixtures((net1, net2), x, shares, options, generator=generator, y=y, weight=weight)[0]


@torch.no_grad()
def mixtures(
    nets: Sequence[Chain | nn.Sequential],
    x: Data,
    shares: Sequence[Sequence[float]],
    options: MixtureOptions | None = None,
    *,
    generator: torch.Generator | int,
    y: Tensor | None = None,
    weight: float = 1.0,
) -> tuple[Mixture, ...]:
    """Mixtures of two or more nets, for many shares at once; what does not depend on the shares is
    done once.

    Args:
        nets: two or more, of one architecture;  x: images (n, ...).
        shares: for each mixture one number for each net, >= 0, with sum 1.
        options, generator, y, weight: as for `mix`.
    Returns:
        One `Mixture` for each entry of `shares`, in order.
    Raises:
        As `mix`.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in range(3)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> options = MixtureOptions(inputs="teacher")
    >>> [m.shares for m in mixtures(nets, x, [(1, 0, 0), (0.25, 0.25, 0.5)], options, generator=0)]
    [(1.0, 0.0, 0.0), (0.25, 0.25, 0.5)]
    """
    options = options or MixtureOptions()
    chains = [as_chain(net) for net in nets]
    _check_nets(chains)
    x, *classes = whole(x, y)
    shares = _checked_shares(shares, len(chains))
    draws = source_of(generator, "mixtures")
    exact = all(p.dtype == torch.float64 for net in chains for p in net.parameters())
    x = x.to(torch.float64 if exact else torch.float32)
    chains = [copy.deepcopy(net).to(x.dtype).eval() for net in chains]
    for net in chains:
        check_alone(net, x, net(x[:2]))
    parts = [chains[0].features(part, 0)[0] for part in in_batches(x, options.batch)]
    growing = [Growing(s, list(parts), options) for s in shares]
    teachers = Teachers(chains, 1, [list(parts) for _ in chains])
    while teachers.layer < chains[0].depth:
        drawn = _sources(teachers, shares, options, draws)
        for mixture, sources in zip(growing, drawn, strict=True):
            mixture.grow(teachers, sources)
            if options.inputs == "own":
                mixture.advance(teachers)
        teachers = Teachers(chains, teachers.layer + 1, teachers.after())
        if _shares_moments(teachers, options, matched=y is None):
            teachers.share_moments()
    results = [mixture.result(teachers, matched=y is None) for mixture in growing]
    if y is None:
        for result in results:
            _check_end(result, teachers, x, options)
        return tuple(results)
    refitted = (refit_top(r.net, x, *classes, weight=weight, batch=options.batch) for r in results)
    return tuple(replace(r, net=net) for r, net in zip(results, refitted, strict=True))


def _check_end(mixture: Mixture, teachers: Teachers, x: Tensor, options: MixtureOptions) -> None:
    """Measure that a mixture of one net alone, with all of its channels, is that net."""
    if 1.0 not in mixture.shares or any(mixture.ridges) or options.fit is not None:
        return
    end = teachers.nets[mixture.shares.index(1.0)]
    widths = [Geometry.of(joint).outputs for joint in end.joints[:-1]]
    if any(len(set(s.tolist())) < m for s, m in zip(mixture.sources, widths, strict=True)):
        return  # channels are missing
    wanted = teachers.pre[teachers.nets.index(end)][0]
    gap = (mixture.net(x[: len(wanted)]) - wanted).square().mean()
    if not gap <= END * (wanted - wanted.mean(0)).square().mean().clamp_min(1e-30):
        raise ValueError(
            f"the mixture of shares {mixture.shares} has all channels of one net, but other"
            f" outputs: {gap:.2g} in the mean square; expected activations and data of usual size"
        )


def _shares_moments(teachers: Teachers, options: MixtureOptions, *, matched: bool) -> bool:
    """Whether all mixtures read the teachers' features at this layer.

    The first layer copies channels, so the second reads the teachers' features whichever inputs are
    asked for.
    """
    if teachers.layer == teachers.nets[0].depth:
        return matched and options.inputs == "teacher"
    return options.inputs == "teacher" or (teachers.layer == 2 and options.fit is None)


def _sources(
    teachers: Teachers,
    shares: Sequence[Sequence[float]],
    options: MixtureOptions,
    draws: torch.Generator,
) -> list[Tensor]:
    """The channels of this layer for every mixture."""
    convolutional = any(isinstance(joint, nn.Conv2d) for joint in teachers.nets[0].joints)
    times = 1.0 if teachers.shape.linear and convolutional else options.width
    width, sizes = max(1, round(teachers.sizes[0] * times)), teachers.sizes
    if options.redraw:
        lists = [candidates(sizes, width, options.scheme, draws) for _ in shares]
    else:
        lists = [candidates(sizes, width, options.scheme, draws)] * len(shares)
    return [chosen(found, sizes, s) for found, s in zip(lists, shares, strict=True)]


def _checked_shares(shares: Sequence[Sequence[float]], nets: int) -> list[tuple[float, ...]]:
    found = [tuple(float(s) for s in each) for each in shares]
    if not found or any(len(each) != nets for each in found):
        raise ValueError(f"shares are {found}: expected one number for each of {nets} nets")
    return found


def _check_nets(nets: Sequence[Chain]) -> None:
    if len(nets) < 2:
        raise ValueError(f"got {len(nets)} nets: expected two or more")
    kinds = [[replace(Geometry.of(j), inputs=0, outputs=0) for j in net.joints] for net in nets]
    if any(k != kinds[0] for k in kinds) or len({outline(net) for net in nets}) != 1:
        raise ValueError(
            "the nets differ in depth, kernels or activations: expected one architecture (widths"
            " may differ)"
        )
    if nets[0].depth < 2:
        raise ValueError("the nets have no hidden layer: expected depth >= 2")
    if list(nets[0].after.children()) or not isinstance(nets[0].after, nn.Sequential):
        raise ValueError(f"{nets[0].after} follows the last layer: expected nothing behind it")
    for name, module in nets[0].named_modules():
        if not isinstance(module, Joint) and [
            *module.parameters(recurse=False),
            *module.buffers(recurse=False),
        ]:
            raise ValueError(
                f"{name} is {type(module).__name__}, whose numbers belong to single"
                " channels or to one net: expected activations without any; fold BatchNorm into the"
                " joints first"
            )
