"""Training several nets on the same minibatches, from any saved state on.

Every random draw of epoch e is a function of (seed, e) alone, and every dropout mask of (seed, e,
step, net), so a run that was killed and resumed from its last state goes on exactly as if nothing
had happened, and a net trains the same alone as beside others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from lib.nets import VGG
from lib.nets.samples import check_classes, check_finite
from lib.train.sgd.dropout import dropout_from
from lib.train.sgd.images import crop, draw_crops
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.regulariser import penalty

_BATCHES, _DROPOUT = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class Record:
    """Means over the minibatches of an epoch, one value per net, dropout and crops included.

    Args:
        epoch: from 1;  cross_entropy, penalty (unweighted), accuracy: one number per net.
    """

    epoch: int
    cross_entropy: tuple[float, ...]
    penalty: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class State:
    """Everything that training goes on from.

    Args:
        epoch: epochs done;  nets: one or more, in eval mode, not shared with the training loop.
        momenta: one tuple of tensors per net, in the order of its parameters (0 for frozen ones);
            empty before the first step.
        history: one record per epoch.
    """

    epoch: int
    nets: tuple[VGG, ...]
    momenta: tuple[tuple[Tensor, ...], ...] = ()
    history: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Execution:
    """How the arithmetic is done, which must not change the results beyond rounding.

    Args:
        device: "cpu" or "cuda".
        mixed: bfloat16 products with float32 parameters, penalty and updates (for a GPU).
        compiled: `torch.compile` of loss and gradient, once for all nets of one design.
        channels_last: keep the channels of a pixel side by side in memory while training, which
            convolutions of a narrow net are faster in; states hold the usual layout either way.
    """

    device: str = "cpu"
    mixed: bool = False
    compiled: bool = False
    channels_last: bool = False


def train(
    nets: Sequence[VGG] | State,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    on_epoch: Callable[[int, Callable[[], State]], object] | None = None,
    execution: Execution | None = None,
) -> State:
    """Minimise cross entropy + weight * penalty by SGD with Nesterov momentum, every net on the
    same minibatches.

    Args:
        nets: initial nets (they are not changed), or the `State` to go on from.
        images: float (n, channels, side, side);  labels: int64 (n,).
        recipe: every setting of the authors' training.
        seed: of minibatches, crops and dropout.
        numbers: of the nets, 0, 1, .. by default; seed and number pick a net's dropout masks, so
            that nets 2 and 3 of a family train in another process exactly as they would beside nets
            0 and 1.
        on_epoch: called after every epoch with its number, from 1, and a function that gives a
            `State` of its own; if it returns True, training stops.
        execution: device, precision and compilation.
    Returns:
        The state after the last epoch done.
    Raises:
        TypeError: nets that are no VGG, labels that are no class indices.
        ValueError: no nets, not one number per net, images that do not fit them or the labels,
            labels outside the classes, only frozen parameters, or a state beyond the end.

    Source: (Gu et al. 2020, Sec. 6) and the authors' code.

    >>> from lib.nets import initialise
    >>> net = initialise(VGG(width=1 / 32, side=4, pools=2, hidden=8), generator=0)
    >>> x, y = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    >>> train([net], x, y, Recipe(epochs=2, batch=4, pad=None)).epoch
    2
    """
    execution = execution or Execution()
    state = nets if isinstance(nets, State) else State(0, tuple(nets))
    numbers = range(len(state.nets)) if numbers is None else numbers
    _check(state, numbers, images, labels, recipe)
    loop = _Loop(state, images, labels, recipe, execution)
    for epoch in range(state.epoch, recipe.epochs):
        loop.epoch(epoch, seed, numbers)
        reached = cache(partial(loop.state, epoch + 1))
        stop = on_epoch is not None and on_epoch(epoch + 1, reached) is True
        if stop or epoch + 1 == recipe.epochs:
            return reached()
    return state


def _check(
    state: State, numbers: Sequence[int], images: Tensor, labels: Tensor, recipe: Recipe
) -> None:
    if not state.nets:
        raise ValueError("got no nets to train")
    if len(numbers) != len(state.nets):
        raise ValueError(
            f"got {len(state.nets)} nets and numbers {list(numbers)}: expected one number per net"
        )
    if len(images) != len(labels) or images.dim() != 4 or labels.dim() != 1:
        raise ValueError(
            f"images {tuple(images.shape)} and labels {tuple(labels.shape)}: expected (n, channels,"
            " h, w) and (n,)"
        )
    check_finite("images", images)
    for net in state.nets:
        if not isinstance(net, VGG):
            raise TypeError(f"a net is {type(net).__name__}: expected VGG")
        side, shape = net.design.side, tuple(images.shape[1:])
        if shape != (wanted := (net.design.channels, side, side)):
            raise ValueError(f"images are {shape}: expected {wanted}, as the nets read")
        check_classes(labels, net.design.classes)
        if not any(p.requires_grad for p in net.parameters()):
            raise ValueError("every parameter of a net is frozen: nothing is left to train")
    if state.epoch > recipe.epochs:
        raise ValueError(
            f"the state is after epoch {state.epoch}: the recipe ends at {recipe.epochs}"
        )


class _Loop:
    """Working copies of the nets, with their optimisers, on one set of images."""

    def __init__(
        self, state: State, images: Tensor, labels: Tensor, recipe: Recipe, execution: Execution
    ) -> None:
        self.recipe, self.execution, self.history = recipe, execution, list(state.history)
        self.steps, device = recipe.steps_for(len(images)), execution.device
        layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        self.images = images.to(device).contiguous(memory_format=layout)
        self.labels = labels.to(device)
        self.nets = [_copied(net, device, layout).train() for net in state.nets]
        momenta = state.momenta or ((),) * len(self.nets)
        self.optimisers = [
            _optimiser(net, m, recipe) for net, m in zip(self.nets, momenta, strict=True)
        ]
        self.objectives = _objectives(self.nets, recipe, execution)

    def epoch(self, epoch: int, seed: int, numbers: Sequence[int]) -> None:
        """One epoch of every net, on the same minibatches."""
        recipe, images, pad = self.recipe, self.images, self.recipe.pad or 0
        generator = torch.Generator().manual_seed(_key(seed, epoch, _BATCHES))
        used = self.steps * recipe.batch
        order = torch.randperm(len(images), generator=generator)[:used].to(images.device)
        crops = draw_crops(used, pad, generator).to(images.device)
        if not recipe.flip:
            crops[:, 2] = 0
        sums = torch.zeros(len(self.nets), 3, device=images.device)
        for step in range(self.steps):
            chosen = slice(step * recipe.batch, (step + 1) * recipe.batch)
            x, y = images[order[chosen]], self.labels[order[chosen]]
            if recipe.pad is not None:
                x = crop(x, crops[chosen], pad)
            lr = recipe.lr_at(epoch, step, self.steps)
            for place, number in enumerate(numbers):
                sums[place] += self._step(
                    place, x, y, lr, _key(seed, epoch, _DROPOUT, step, number)
                )
        means = (sums / self.steps).T.tolist()
        self.history.append(Record(epoch + 1, *(tuple(column) for column in means)))

    def _step(self, place: int, x: Tensor, y: Tensor, lr: float, key: int) -> Tensor:
        optimiser = self.optimisers[place]
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        with dropout_from(key, x.device, self.execution.compiled):
            loss, parts = self.objectives[place](x, y)
        loss.backward()
        optimiser.step()
        return parts

    def state(self, epoch: int) -> State:
        """A state of its own, nets in eval mode and in the usual layout."""
        usual = torch.contiguous_format
        device = self.execution.device
        copies = tuple(_copied(net, device, usual).eval() for net in self.nets)
        for net in copies:
            net.zero_grad(set_to_none=True)
        momenta = tuple(
            tuple(_momentum(o, p).clone(memory_format=usual) for p in net.parameters())
            if self.recipe.momentum
            else ()
            for net, o in zip(self.nets, self.optimisers, strict=True)
        )
        return State(epoch, copies, momenta, tuple(self.history))


def _copied(net: VGG, device: str, layout: torch.memory_format) -> VGG:
    copied: Any = copy.deepcopy(net)  # PyTorch's types know no memory format of a module
    return cast(VGG, copied.to(device, memory_format=layout))


Objectives = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Objective(nn.Module):
    """(images, labels) -> cross entropy + weight * penalty, and [cross entropy, penalty,
    accuracy]."""

    def __init__(self, net: VGG, recipe: Recipe, execution: Execution) -> None:
        super().__init__()
        self.net, self.recipe, self.execution = net, recipe, execution

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.execution.device, torch.bfloat16, enabled=self.execution.mixed):
            output = self.net(x)
        output = output.float() if self.execution.mixed else output
        cross_entropy = functional.cross_entropy(output, y)
        cost = penalty(self.net, self.recipe.penalty)
        accuracy = (output.argmax(1) == y).float().mean()
        parts = torch.stack([cross_entropy.detach().float(), cost.detach().float(), accuracy])
        return cross_entropy + self.recipe.weight * cost, parts


def _objectives(nets: Sequence[VGG], recipe: Recipe, execution: Execution) -> list[Objectives]:
    if not execution.compiled:
        return [Objective(net, recipe, execution) for net in nets]
    # One graph serves every net of a design: the parameters go in as arguments of a template's
    # forward.
    function = torch.compile(functional_call)
    templates = {net.design: Objective(net, recipe, execution) for net in nets}
    named = [{f"net.{k}": p for k, p in net.named_parameters()} for net in nets]
    return [
        partial(_call, function, templates[net.design], p)
        for net, p in zip(nets, named, strict=True)
    ]


def _call(
    function: Callable[..., Any],
    template: Objective,
    parameters: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor]:
    out: tuple[Tensor, Tensor] = function(template, parameters, (x, y))
    return out


def _optimiser(net: VGG, momenta: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    moved = [p for p in net.parameters() if p.requires_grad]
    nesterov = recipe.momentum > 0
    optimiser = torch.optim.SGD(
        moved, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, foreach=True
    )
    if momenta:
        for p, momentum in zip(net.parameters(), momenta, strict=True):
            if p.requires_grad:
                optimiser.state[p]["momentum_buffer"] = torch.empty_like(p).copy_(momentum)
    return optimiser


def _momentum(optimiser: torch.optim.SGD, parameter: Tensor) -> Tensor:
    """The momentum of a parameter; a frozen one has none, and 0 stands for it."""
    if not parameter.requires_grad:
        return torch.zeros_like(parameter)
    found: Tensor = optimiser.state[parameter]["momentum_buffer"]
    return found


def _key(*numbers: int) -> int:
    """One seed of 63 bits from several numbers, far from every other such seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
