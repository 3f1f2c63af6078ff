"""Nets of one design from several initialisers and seeds, trained on the same minibatches, with
their checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from experiments import checkpoints as checkpoint
from experiments.processes import in_processes
from lib.nets import VGG, Design, initialise
from lib.nets.initialisers import INITIALISERS
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.training import Execution, Record, State, train

_BETWEEN_SAVES = 60.0  # seconds of training that a kill may cost, beyond the epoch it interrupts


class Unfinished(RuntimeError):
    """Training used up its minutes; what it reached is in the folder, and the same call goes on
    from there."""


@dataclass(frozen=True, eq=False)
class Member:
    """One net of a family through its training.

    Args:
        how: its initialiser;  replica: which of those with this initialiser, from 0.
        nets: epoch -> net, epoch 0 being the initial one;  history: one record an epoch, of this
            net alone.
    """

    how: str
    replica: int
    nets: dict[int, VGG]
    history: tuple[Record, ...]


def checkpoint_epochs(epochs: int) -> tuple[int, ...]:
    """The epochs after which the authors kept the parameters: 1, 2, 5, 8 and every tenth.

    >>> checkpoint_epochs(30)
    (1, 2, 5, 8, 10, 20, 30)
    """
    return tuple(e for e in range(1, epochs + 1) if e in (1, 2, 5, 8) or e % 10 == 0)


@dataclass(frozen=True)
class Run:
    """How a family is trained, which does not change its nets.

    Args:
        execution: as `lib.train.sgd.train`.
        processes: over which the nets are dealt out, one each by default; 1 trains all in this one.
        folder: where checkpoints and the latest state are kept, so that a killed run resumes; None
            for memory only.
        minutes: after which training stops with `Unfinished` (with a folder only).
    """

    execution: Execution = Execution()
    processes: int | None = None
    folder: Path | None = None
    minutes: float = float("inf")


def train_family(
    design: Design,
    members: Sequence[tuple[str, int]],
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoints: Collection[int] = (),
    run: Run | None = None,
) -> tuple[Member, ...]:
    """Draw and train nets of one design, side by side or in one process a core, the same either
    way.

    Args:
        members: (initialiser, replica) of every net; both and the seed fix its initial weights.
        images, labels, recipe: as `lib.train.sgd.train`;  seed: of everything random.
        checkpoints: epochs to keep besides 0 and the last;  run: processes, folder and time.
    Returns:
        One member for each entry of `members`, in order.
    Raises:
        ValueError: no members, or minutes without a folder.
        Unfinished: the minutes are used up.

    >>> import torch
    >>> x, y = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    >>> design = Design(width=1 / 32, side=4, pools=2, hidden=8)
    >>> recipe, here = Recipe(epochs=1, batch=8), Run(processes=1)
    >>> family = train_family(design, [("he_normal", 0)], x, y, recipe, run=here)
    >>> family[0].nets.keys()
    dict_keys([0, 1])
    """
    run = run or Run()
    processes, folder = run.processes, run.folder
    if not members:
        raise ValueError("got no members to train")
    if folder is None and run.minutes != float("inf"):
        raise ValueError(f"minutes is {run.minutes}: stopping early needs a folder to resume from")
    keep = sorted({*checkpoints, recipe.epochs} & set(range(1, recipe.epochs + 1)))
    numbered = list(enumerate(members))
    dealt = len(members) if processes is None else processes
    shares = [numbered[k::dealt] for k in range(min(dealt, len(numbered)))]
    places = [folder and folder / f"share-{k}-of-{dealt}" for k in range(len(shares))]
    common = (images, labels, recipe, seed, keep)
    jobs = [
        (design, share, *common, replace(run, folder=place))
        for share, place in zip(shares, places, strict=True)
    ]
    trained = in_processes(_train_share, jobs, processes=processes if len(jobs) > 1 else 1)
    found = {number: member for share in trained for number, member in share}
    return tuple(found[number] for number in range(len(members)))


def _train_share(design, share, images, labels, recipe, seed, keep, run):
    device, folder = run.execution.device, run.folder
    numbers = [number for number, _ in share]
    start = State(
        0,
        tuple(initialise(VGG(design), how, generator=_seed(seed, how, r)) for _, (how, r) in share),
    )
    states = {0: start}
    began = saved = time.monotonic()
    latest = start
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        latest = checkpoint.resume(folder / "latest.pt", start, device)

    def on_epoch(epoch: int, state: Callable[[], State]) -> bool:
        # without momenta: these are looked at, not trained on
        if epoch in keep and folder is None:
            states[epoch] = state()
        elif epoch in keep:
            checkpoint.save(State(epoch, state().nets), folder / f"epoch-{epoch}.pt")
        nonlocal saved
        now = time.monotonic()
        late = now - began > 60 * run.minutes
        due = now - saved > _BETWEEN_SAVES or epoch in keep
        if folder is not None and (late or due):
            checkpoint.save(state(), folder / "latest.pt")
            saved = now
        return late

    last = train(
        latest,
        images,
        labels,
        recipe,
        seed=seed,
        numbers=numbers,
        on_epoch=on_epoch,
        execution=run.execution,
    )
    if last.epoch < recipe.epochs:
        raise Unfinished(f"after epoch {last.epoch} of {recipe.epochs}: run it again to go on")
    if folder is not None:
        states |= {epoch: checkpoint.load(folder / f"epoch-{epoch}.pt", device) for epoch in keep}
    return [
        (
            number,
            Member(
                how,
                replica,
                {e: s.nets[place] for e, s in states.items()},
                _alone(last.history, place),
            ),
        )
        for place, (number, (how, replica)) in enumerate(share)
    ]


def _alone(history: Sequence[Record], place: int) -> tuple[Record, ...]:
    return tuple(
        Record(r.epoch, (r.cross_entropy[place],), (r.penalty[place],), (r.accuracy[place],))
        for r in history
    )


def _seed(seed: int, how: str, replica: int) -> int:
    """Replicas differ, and so do equal replicas of different initialisers."""
    return 1_000_003 * seed + 1009 * INITIALISERS.index(how) + replica
