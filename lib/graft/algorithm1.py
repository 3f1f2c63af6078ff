"""Algorithm 1 of Gu et al. (2020): the joint trained by Adam on minibatches, as the authors ran it,
for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.graft.cut import checked_cut, joint_shape, pool, pools_between, sharing_parameters
from lib.graft.exact import Graft, assemble, matching_loss
from lib.joint.geometry import build
from lib.nets import Chain
from lib.nets.initialisers import draw_joint
from lib.train.sgd.images import crop, draw_crops


@dataclass(frozen=True)
class Algorithm1:
    """The authors' settings.

    Args:
        epochs: >= 1;  steps: minibatches an epoch, None for as many as the images fill (the authors
            take 780).
        batch: images in a minibatch;  rate: of Adam (1e-4 on CIFAR-10, 1e-3 in their CIFAR-100
            runs).
        warmup: epochs of linear rise;  scale: factor of the mean squared difference (Adam hardly
            sees it).
        pad: random crops of images padded by so many zeros, and flips; None for the images as they
            are.
        how: initialiser of the fresh joint.

    >>> Algorithm1().rate
    0.0001
    """

    epochs: int = 6
    steps: int | None = None
    batch: int = 64
    rate: float = 1e-4
    warmup: int = 1
    scale: float = 5.0
    pad: int | None = 4
    how: str = "code_normal"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError(
                f"epochs {self.epochs}, batch {self.batch}, steps {self.steps}: expected each >= 1"
            )
        if not (self.rate > 0 and self.scale > 0 and self.warmup >= 0):
            raise ValueError(
                f"rate {self.rate}, scale {self.scale}, warmup {self.warmup}: expected > 0, > 0,"
                " >= 0"
            )


def graft_sgd(
    net1: Chain,
    net2: Chain,
    layer: int,
    images: Tensor,
    settings: Algorithm1 | None = None,
    *,
    onto: int | None = None,
    seed: int = 0,
) -> Graft:
    """Graft net 1 onto net 2 at a layer with a joint trained from a fresh start: Algorithm 1.

    Only the joint's weights and biases move, by Adam on scale * mean (g2 - g~)^2 over minibatches
    of crops.

    Args:
        net1, net2, layer, onto: as in `lib.graft.graft`.
        images: float (n, channels, rows, columns).
        settings: the authors' by default.
        seed: of the fresh joint, the minibatches and the crops.
    Returns:
        The graft; its losses are taken over the images as they are, without crops.
    Raises:
        ValueError: as `lib.graft.graft`, or images that do not fill the minibatches.

    Source: (Gu et al. 2020, Alg. 1) and the authors' code.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> graft_sgd(*nets, 2, x, Algorithm1(epochs=1, batch=8)).layer
    2
    """
    settings = settings or Algorithm1()
    layer, onto = checked_cut(net1, net2, layer, onto)
    steps = len(images) // settings.batch if settings.steps is None else settings.steps
    if steps < 1 or steps * settings.batch > len(images):
        raise ValueError(
            f"{len(images)} images do not fill {max(1, steps)} minibatches of {settings.batch}"
        )
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    generator = torch.Generator().manual_seed(seed)
    joint, pools = _fresh_joint(first, second, layer, onto, images[:1], settings.how, generator)
    optimiser = torch.optim.Adam(joint.parameters(), lr=settings.rate)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            chosen = order[step * settings.batch : (step + 1) * settings.batch].to(images.device)
            x = images[chosen]
            if settings.pad is not None:
                x = crop(
                    x, draw_crops(len(x), settings.pad, generator).to(images.device), settings.pad
                )
            with torch.no_grad():
                f = pool(first.features(x, layer)[-1], pools)
                target = second.preactivations(x, onto)[-1]
            loss = settings.scale * (joint(f) - target).square().mean()
            rise = (
                (epoch * steps + step + 1) / (settings.warmup * steps)
                if epoch < settings.warmup
                else 1.0
            )
            optimiser.param_groups[0]["lr"] = settings.rate * rise
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    for parameter in joint.parameters():
        parameter.grad = None
    return measured(assemble(net1, net2, layer, onto, joint, pools), net2, layer, onto, images)


def graft_fresh(
    net1: Chain, net2: Chain, layer: int, images: Tensor, *, onto: int | None = None, seed: int = 0
) -> Graft:
    """The graft before any matching: a freshly drawn joint, the baseline that says what matching
    achieves.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> nets = [initialise(VGG(width=1 / 16, side=8, pools=3, hidden=8), generator=s) for s in (0, 1)]
    >>> graft_fresh(*nets, 2, torch.randn(4, 3, 8, 8)).solution is None
    True
    """
    layer, onto = checked_cut(net1, net2, layer, onto)
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    generator = torch.Generator().manual_seed(seed)
    joint, pools = _fresh_joint(first, second, layer, onto, images[:1], "code_normal", generator)
    return measured(assemble(net1, net2, layer, onto, joint, pools), net2, layer, onto, images)


def measured(net: Chain, net2: Chain, layer: int, onto: int, images: Tensor) -> Graft:
    """A graft with the matching losses that its joint has on the images."""
    loss = matching_loss(Graft(net, layer, onto, 0.0, 0.0), net2, images)
    second = sharing_parameters(net2)
    with torch.no_grad():
        targets = [
            second.preactivations(x, onto)[-1].transpose(0, 1).flatten(1) for x in images.split(256)
        ]
        # the mean over channels of the variance over images and positions, from parts of unequal
        # size
        count = sum(t.shape[1] for t in targets)
        mean = sum(t.sum(1, dtype=torch.float64) for t in targets) / count
        variance = sum((t.double() - mean[:, None]).square().sum(1) for t in targets) / count
    scale = variance.mean().item()
    return Graft(net, layer, onto, loss, loss / scale if scale > 0 else 0.0)


def _fresh_joint(
    first: Chain, second: Chain, layer: int, onto: int, sample: Tensor, how: str, generator
):
    with torch.no_grad():
        f = first.features(sample, layer)[-1]
        expected = sample if onto == 1 else second.features(sample, onto - 1)[-1]
    pools = pools_between(f, expected)
    like = second.joint(onto)
    shape = joint_shape(like, f)
    weight = torch.zeros(
        shape.outputs, shape.unknowns, dtype=like.weight.dtype, device=like.weight.device
    )
    joint = build(shape, weight, None if like.bias is None else torch.zeros_like(like.bias))
    draw_joint(joint, how, layer=onto, generator=generator)
    return joint, pools
