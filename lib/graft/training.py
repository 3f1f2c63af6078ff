"""Algorithm 1 of Gu et al. (2020): the joint trained by Adam on minibatches, as the authors ran it,
for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.graft.exact import Graft, matching_loss
from lib.graft.joining import (
    assemble,
    checked_layers,
    joint_shape,
    pool,
    pools_between,
    sharing_parameters,
)
from lib.joint.least_squares import varying
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.checks import check_counts
from lib.nets.drawing import source_of
from lib.nets.initialisers import draw_joint
from lib.nets.kinds import Joint
from lib.nets.samples import check_samples
from lib.train.sgd.images import crop, draw_crops


@dataclass(frozen=True)
class JointTraining:
    """The authors' settings of Algorithm 1.

    Args:
        epochs: >= 1;  steps: minibatches an epoch, None for as many as the images fill (the authors
            take 780).
        batch: images in a minibatch;  lr: of Adam (1e-4 on CIFAR-10, 1e-3 in their CIFAR-100 runs).
        warmup: epochs of linear rise;  scale: factor of the mean squared difference (Adam hardly
            sees it).
        pad: random crops of images padded by so many zeros, and flips; None for the images as they
            are.
        how: initialiser of the fresh joint.

    >>> JointTraining().lr
    0.0001
    """

    epochs: int = 6
    steps: int | None = None
    batch: int = 64
    lr: float = 1e-4
    warmup: int = 1
    scale: float = 5.0
    pad: int | None = 4
    how: str = "code_normal"

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch", "steps", warmup=0)
        if not (0 < self.lr < math.inf and 0 < self.scale < math.inf):
            raise ValueError(f"lr {self.lr}, scale {self.scale}: expected finite numbers > 0")

    def steps_on(self, images: int) -> int:
        """Minibatches an epoch on so many images.

        Raises:
            ValueError: images that do not fill them.
        """
        steps = images // self.batch if self.steps is None else self.steps
        if steps < 1 or steps * self.batch > images:
            raise ValueError(
                f"{images} images do not fill {max(1, steps)} minibatches of {self.batch}"
            )
        return steps


def graft_trained(
    net1: Chain | nn.Sequential,
    net2: Chain | nn.Sequential,
    x: Tensor,
    layer: int,
    settings: JointTraining | None = None,
    *,
    onto: int | None = None,
    generator: torch.Generator | int,
) -> Graft:
    """Graft net 1 onto net 2 at a layer with a joint trained from a fresh start: Algorithm 1.

    Only the joint's weights and biases move, by Adam on scale * mean (g2 - g~)^2 over minibatches
    of crops.

    Args:
        net1, net2, layer, onto: as in `graft`.
        x: float images (n, channels, rows, columns);  settings: the authors' by default.
        generator: of the fresh joint, the minibatches and the crops, or its seed.
    Returns:
        The graft; its losses are taken over the images as they are, without crops.
    Raises:
        ValueError: as `graft`, or images that do not fill the minibatches.

    Source: (Gu et al. 2020, Alg. 1) and the authors' code.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> short = JointTraining(epochs=1, batch=8)
    >>> graft_trained(*nets, x, 2, short, generator=0).layer
    2
    """
    settings = settings or JointTraining()
    net1, net2 = as_chain(net1), as_chain(net2)
    layer, onto = checked_layers(net1, net2, layer, onto)
    check_samples(x)
    draws = source_of(generator, "grafting")
    settings.steps_on(len(x))
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    joint, pools = _fresh_joint(first, second, (layer, onto), x[:1], settings.how, draws)

    @torch.no_grad()
    def pair(images: Tensor) -> tuple[Tensor, Tensor]:
        f = pool(first.features(images, layer)[-1], pools)
        return f, second.preactivations(images, onto)[-1]

    _train(joint, pair, x, settings, draws)
    return _measured(assemble(net1, net2, layer, onto, joint, pools), net2, (layer, onto), x)


def _train(
    joint: Joint,
    pair: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    settings: JointTraining,
    generator: torch.Generator,
) -> None:
    """Adam on scale * mean (target - joint(f))^2, (f, target) = pair(minibatch)."""
    steps = settings.steps_on(len(x))
    optimiser = torch.optim.Adam(joint.parameters(), lr=settings.lr)
    rising = settings.warmup * steps
    for epoch in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator)
        for step in range(steps):
            chosen = order[step * settings.batch : (step + 1) * settings.batch].to(x.device)
            images = x[chosen]
            if settings.pad is not None:
                crops = draw_crops(len(images), settings.pad, generator).to(x.device)
                images = crop(images, crops, settings.pad)
            f, target = pair(images)
            done = epoch * steps + step + 1
            rise = done / rising if epoch < settings.warmup else 1.0
            optimiser.param_groups[0]["lr"] = settings.lr * rise
            optimiser.zero_grad(set_to_none=True)
            with torch.enable_grad():
                (settings.scale * (joint(f) - target).square().mean()).backward()
            optimiser.step()
    for parameter in joint.parameters():
        parameter.grad = None


def graft_fresh(
    net1: Chain | nn.Sequential,
    net2: Chain | nn.Sequential,
    x: Tensor,
    layer: int,
    *,
    onto: int | None = None,
    generator: torch.Generator | int,
) -> Graft:
    """The graft before any matching: a freshly drawn joint, the baseline that says what matching
    achieves.

    Args:
        net1, net2, x, layer, onto: as in `graft_trained`;  generator: of the joint, or its
            seed.

    >>> from lib.nets import VGG, initialise
    >>> small = {"width": 1 / 16, "side": 8, "pools": 3, "hidden": 8}
    >>> nets = [initialise(VGG(**small), generator=s) for s in (0, 1)]
    >>> draws = torch.Generator().manual_seed(0)
    >>> x = torch.randn(4, 3, 8, 8, generator=draws)
    >>> graft_fresh(*nets, x, 2, generator=draws).solution is None
    True
    """
    net1, net2 = as_chain(net1), as_chain(net2)
    layer, onto = checked_layers(net1, net2, layer, onto)
    check_samples(x)
    draws = source_of(generator, "grafting")
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    joint, pools = _fresh_joint(first, second, (layer, onto), x[:1], "code_normal", draws)
    return _measured(assemble(net1, net2, layer, onto, joint, pools), net2, (layer, onto), x)


@torch.no_grad()
def _measured(net: Chain, net2: Chain, join: tuple[int, int], x: Tensor) -> Graft:
    """A graft with the matching losses that its joint has on the images."""
    loss = matching_loss(Graft(net, *join, 0.0, 0.0), net2, x)
    second = sharing_parameters(net2)
    targets = [
        second.preactivations(part, join[1])[-1].transpose(0, 1).flatten(1)
        for part in torch.split(x, 256)
    ]
    # the mean over channels of the variance over images and positions, from parts of unequal size
    count = sum(t.shape[1] for t in targets)
    mean = torch.stack([t.sum(1, dtype=torch.float64) for t in targets]).sum(0) / count
    squares = torch.stack([(t.double() - mean[:, None]).square().sum(1) for t in targets])
    variance = varying(squares.sum(0) / count, mean.square(), torch.float64).mean().item()
    missed = math.inf if loss > 0 else 0.0  # of targets that never vary
    return Graft(net, *join, loss, loss / variance if variance > 0 else missed)


@torch.no_grad()
def _fresh_joint(
    first: Chain,
    second: Chain,
    join: tuple[int, int],
    sample: Tensor,
    how: str,
    generator: torch.Generator,
) -> tuple[Joint, int]:
    layer, onto = join
    f = first.features(sample, layer)[-1]
    pools = pools_between(f, second.features(sample, onto - 1)[-1])
    like = second.joint(onto)
    shape = joint_shape(like, f)
    weight = like.weight.new_zeros(shape.outputs, shape.unknowns)
    joint = shape.build(weight, None if like.bias is None else torch.zeros_like(like.bias))
    draw_joint(joint, how, layer=onto, generator=generator)
    return joint, pools
