"""Mixtures of nets in feature-distribution space: Algorithm 2 of Gu et al. (2020), each layer
solved exactly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.joint.fit import equations, with_targets
from lib.joint.geometry import geometry
from lib.mixture.adam import Matching
from lib.mixture.assembly import Growing, Mixture, joined, with_bias
from lib.mixture.channels import candidates, chosen
from lib.mixture.top import refit_top
from lib.nets import Chain

INPUTS = ("own", "teacher")
TOPS = ("match", "cross_entropy")


def mix(
    net1: Chain,
    net2: Chain,
    gamma: float,
    data: Tensor,
    *,
    width: float = 2.0,
    seed: int = 0,
    inputs: str = "own",
    ridge: float = 0.0,
    scheme: str = "replacement",
    top: str = "match",
    labels: Tensor | None = None,
    weight: float = 1.0,
    matching: Matching | None = None,
) -> Mixture:
    """The net whose features are gamma parts of net1's and 1 - gamma parts of net2's, layer by
    layer.

    In layer l it has width * m_l channels: floor(gamma M_l) drawn from net1, the others from net2.
        Its weights make its
    pre-activations those of the channels drawn, in the least-squares sense over the data, linear in
    the weights.

    Args:
        net1, net2: nets of one architecture, in any precision.
        gamma: the share of net1, in [0, 1].
        data: images (n, ...), without labels.
        width: the mixture's channels over those of net1, > 0 (the paper: 2). In a net with
            convolutions it is theirs alone: fully connected layers keep their width, as in the
                paper.
        seed: of the draws; the same for all gamma gives nested draws.
        inputs: "own": layer l reads the mixture's own layer l - 1 and so corrects earlier errors,
            as Algorithm 2 does. "teacher": it is fitted on the features that layer l - 1 is meant
            to have; then all gamma share one Gram.
        ridge: penalty on the squared weights of every fit, relative to the mean variance of its
            inputs, >= 0; it does what the l_{1,2} penalty does in Algorithm 2: without it channels
            that hardly vary get enormous weights.
        scheme: "replacement" (paper) or "balanced", see `candidates`.
        top: "match": outputs match gamma f_1 + (1 - gamma) f_2, the mixture of Theorem 1;
            "cross_entropy": the last layer minimises cross entropy + weight * l_{1,2} on the data,
            as the authors do; needs labels.
        labels: int64 (n,), only for the cross entropy.
        weight: of the l_{1,2} penalty of the last layer.
        matching: fit hidden layers as the authors did (post-ReLU, Adam) instead; implies inputs
            "own".
    Returns:
        The mixture, in float32 as `Chain`.
    Raises:
        TypeError, ValueError: nets of different architecture, or an argument outside its range.
    Source: (Gu et al. 2020, Sec. 6.2 and Alg. 2).

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> mix(*nets, 0.5, x).net.joint(1)
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}: expected in [0, 1]")
    return mixtures(
        (net1, net2),
        [(gamma, 1 - gamma)],
        data,
        width=width,
        seed=seed,
        inputs=inputs,
        ridge=ridge,
        scheme=scheme,
        top=top,
        labels=labels,
        weight=weight,
        matching=matching,
    )[0]


def mixtures(
    nets: Sequence[Chain],
    shares: Sequence[Sequence[float]],
    data: Tensor,
    *,
    width: float = 2.0,
    seed: int = 0,
    inputs: str = "own",
    ridge: float = 0.0,
    scheme: str = "replacement",
    top: str = "match",
    labels: Tensor | None = None,
    weight: float = 1.0,
    matching: Matching | None = None,
    batch: int = 256,
) -> tuple[Mixture, ...]:
    """Mixtures of two or more nets, for many shares at once; what does not depend on the shares is
    done once.

    Args:
        nets: two or more, of one architecture.
        shares: for each mixture one number a net, >= 0, with sum 1.
        batch: images at a time.
        The others as for `mix`.
    Returns:
        One `Mixture` for each entry of `shares`, in order.
    Raises:
        As `mix`.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in range(3)]
    >>> x = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> [m.shares for m in mixtures(nets, [(1, 0, 0), (0.25, 0.25, 0.5)], x, inputs="teacher")]
    [(1, 0, 0), (0.25, 0.25, 0.5)]
    """
    _check(nets, data, width, inputs, top, labels, matching)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        nets = [copy.deepcopy(net).float().eval() for net in nets]
        teachers = [list(data.float().split(batch)) for _ in nets]
        convolutional = any(isinstance(joint, nn.Conv2d) for joint in nets[0].joints)
        growing = [Growing(tuple(s), list(data.float().split(batch)), ridge) for s in shares]
        for layer in range(1, nets[0].depth):
            pre = [
                [net.joint(layer)(f) for f in parts]
                for net, parts in zip(nets, teachers, strict=True)
            ]
            sizes = [net.joint(layer).weight.shape[0] for net in nets]
            times = 1 if isinstance(nets[0].joint(layer), nn.Linear) and convolutional else width
            lists = candidates(sizes, max(1, round(sizes[0] * times)), scheme, generator)
            shared = None
            # The first layer copies channels, so the second reads the teachers' features whichever
            # inputs are asked for.
            if layer > 1 and (inputs == "teacher" or (layer == 2 and matching is None)):
                moments = equations(
                    nets[0].joint(layer), (torch.cat(fs, 1) for fs in zip(*teachers, strict=True))
                )
                target = joined([with_bias(net.joint(layer)).double() for net in nets])
                shared = with_targets(moments, target[:, :-1], target[:, -1])
            for mixture in growing:
                mixture.grow(
                    nets, layer, chosen(lists, sizes, mixture.shares), pre, shared, matching, seed
                )
            teachers = [
                [net.feature(layer, g) for g in parts] for net, parts in zip(nets, pre, strict=True)
            ]
            if inputs == "own":
                for mixture in growing:
                    mixture.advance(nets[0], layer)
        shared = None
        if inputs == "teacher" and top == "match":
            shared = equations(
                nets[0].joint(nets[0].depth),
                (torch.cat(fs, 1) for fs in zip(*teachers, strict=True)),
            )
        results = [mixture.result(nets, teachers, shared, top) for mixture in growing]
    if top == "cross_entropy":
        results = [
            replace(r, net=refit_top(r.net, data, labels, weight=weight, batch=batch))
            for r in results
        ]
    return tuple(results)


def _check(nets, data, width, inputs, top, labels, matching) -> None:
    if len(nets) < 2 or not all(isinstance(net, Chain) for net in nets):
        raise TypeError(
            f"got {[type(n).__name__ for n in nets]}: expected two or more Chains (lib.train.sgd)"
        )
    kinds = [[replace(geometry(j), inputs=0, outputs=0) for j in net.joints] for net in nets]
    if any(k != kinds[0] for k in kinds) or len({repr(net.activations) for net in nets}) != 1:
        raise ValueError(
            "the nets differ in depth, kernels or activations: expected one architecture (widths"
            " may differ)"
        )
    if not width > 0:
        raise ValueError(f"width is {width}: expected > 0")
    if inputs not in INPUTS or top not in TOPS:
        raise ValueError(
            f"inputs is {inputs!r}, top {top!r}: expected one of {INPUTS} and of {TOPS}"
        )
    if matching is not None and inputs != "own":
        raise ValueError(
            "Adam matching trains each layer on the mixture's own features: expected inputs='own'"
        )
    if len(data) == 0 or (top == "cross_entropy" and (labels is None or len(labels) != len(data))):
        raise ValueError(
            f"{len(data)} images: expected n >= 1, and as many labels for top='cross_entropy'"
        )
