"""Training several nets on the same minibatches, from any saved state on.

Every random draw of epoch e is a function of (seed, e) alone, and every dropout mask of (seed, e,
step, net), so a run that was killed and resumed from its last state goes on exactly as if nothing
had happened, and a net trains the same alone as beside others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from lib.nets import VGG
from lib.train.sgd.images import crop, draw_crops
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.regulariser import penalty

_BATCHES, _DROPOUT = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class Record:
    """Means over the minibatches of an epoch, one value a net, dropout and crops included.

    Args:
        epoch: from 1;  cross_entropy, penalty (unweighted), accuracy: one number a net.
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
        momenta: one tuple of tensors a net, in the order of its parameters; empty before the first
            step.
        history: one record an epoch.
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
    checkpoints: Collection[int] = (),
    on_checkpoint: Callable[[State], object] | None = None,
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
        checkpoints: epochs after which `on_checkpoint` gets a `State` of its own; if it returns
            True, training stops.
        execution: device, precision and compilation.
    Returns:
        The state after the last epoch done.
    Raises:
        ValueError: no nets, not one number a net, images and labels that do not match, or a state
            beyond the end.

    Source: (Gu et al. 2020, Sec. 6) and the authors' code.

    >>> from lib.nets import initialise
    >>> net = initialise(VGG(width=1 / 32, side=4, pools=2, hidden=8), generator=0)
    >>> x, y = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    >>> train([net], x, y, Recipe(epochs=2, batch=4, pad=None)).epoch
    2
    """
    execution = execution or Execution()
    state = nets if isinstance(nets, State) else State(0, tuple(nets))
    if not state.nets:
        raise ValueError("got no nets to train")
    numbers = range(len(state.nets)) if numbers is None else numbers
    if len(numbers) != len(state.nets):
        raise ValueError(
            f"got {len(state.nets)} nets and numbers {list(numbers)}: expected one number a net"
        )
    if len(images) != len(labels) or images.dim() != 4 or labels.dim() != 1:
        raise ValueError(
            f"images {tuple(images.shape)} and labels {tuple(labels.shape)}: expected (n, channels,"
            " h, w) and (n,)"
        )
    if state.epoch > recipe.epochs:
        raise ValueError(
            f"the state is after epoch {state.epoch}: the recipe ends at {recipe.epochs}"
        )
    steps = recipe.steps_for(len(images))
    images, labels = images.to(execution.device), labels.to(execution.device)
    layout = torch.channels_last if execution.channels_last else torch.contiguous_format
    images = images.contiguous(memory_format=layout)
    working = [
        copy.deepcopy(net).to(execution.device, memory_format=layout).train() for net in state.nets
    ]
    momenta = state.momenta or ((),) * len(working)
    optimisers = [_optimiser(net, m, recipe) for net, m in zip(working, momenta, strict=True)]
    objectives = _objectives(working, recipe, execution)
    history = list(state.history)
    for epoch in range(state.epoch, recipe.epochs):
        run = list(zip(numbers, optimisers, objectives, strict=True))
        history.append(_epoch(run, images, labels, recipe, epoch, steps, seed))
        last = epoch + 1 == recipe.epochs
        if epoch + 1 in checkpoints or last:
            state = _snapshot(epoch + 1, working, optimisers, recipe, history)
        if epoch + 1 in checkpoints and on_checkpoint is not None and on_checkpoint(state) is True:
            break
    return state


def _epoch(run, images, labels, recipe: Recipe, epoch: int, steps: int, seed: int) -> Record:
    generator = torch.Generator().manual_seed(_key(seed, epoch, _BATCHES))
    order = torch.randperm(len(images), generator=generator)[: steps * recipe.batch].to(
        images.device
    )
    pad = recipe.pad or 0
    crops = draw_crops(steps * recipe.batch, pad, generator).to(images.device)
    if not recipe.flip:
        crops[:, 2] = 0
    sums = torch.zeros(len(run), 3, device=images.device)
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices):  # dropout draws from the global stream: leave it as it was
        for step in range(steps):
            chosen = slice(step * recipe.batch, (step + 1) * recipe.batch)
            x, y = images[order[chosen]], labels[order[chosen]]
            if recipe.pad is not None:
                x = crop(x, crops[chosen], pad)
            lr = recipe.lr_at(epoch, step, steps)
            for place, (number, optimiser, objective) in enumerate(run):
                torch.manual_seed(_key(seed, epoch, _DROPOUT, step, number))
                for group in optimiser.param_groups:
                    group["lr"] = lr
                optimiser.zero_grad(set_to_none=True)
                loss, parts = objective(x, y)
                loss.backward()
                optimiser.step()
                sums[place] += parts
    means = (sums / steps).T.tolist()
    return Record(epoch + 1, *(tuple(column) for column in means))


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


def _objectives(nets: Sequence[VGG], recipe: Recipe, execution: Execution) -> list[Callable]:
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


def _call(function, template: Objective, parameters: dict[str, Tensor], x: Tensor, y: Tensor):
    return function(template, parameters, (x, y))


def _optimiser(net: VGG, momenta: Sequence[Tensor], recipe: Recipe) -> torch.optim.SGD:
    parameters = list(net.parameters())
    nesterov = recipe.momentum > 0
    optimiser = torch.optim.SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, foreach=True
    )
    if momenta:
        for parameter, momentum in zip(parameters, momenta, strict=True):
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(
                momentum
            )
    return optimiser


def _snapshot(epoch: int, nets, optimisers, recipe: Recipe, history) -> State:
    usual = torch.contiguous_format
    copies = tuple(copy.deepcopy(net).eval().to(memory_format=usual) for net in nets)
    for net in copies:
        for parameter in net.parameters():
            parameter.grad = None
    momenta = tuple(
        (
            tuple(
                o.state[p]["momentum_buffer"].clone(memory_format=usual) for p in net.parameters()
            )
            if recipe.momentum
            else ()
        )
        for net, o in zip(nets, optimisers, strict=True)
    )
    return State(epoch, copies, momenta, tuple(history))


def _key(*numbers: int) -> int:
    """One seed of 63 bits from several numbers, far from every other such seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
