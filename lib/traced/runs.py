"""Channels that belong together, as a union-find of runs of channels.

A tensor's channels are a layout: runs side by side. Adding two tensors unites their runs, cutting
the longer where boundaries differ; concatenation puts layouts side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(eq=False)
class Run:
    """Channels that stand side by side in every tensor in which they are.

    Args:
        width: how many;  frozen: why they cannot be changed, or None.
        homogeneous: whether scaling what makes a channel by c > 0 scales it everywhere by c.
    """

    width: int
    frozen: str | None = None
    homogeneous: bool = True
    became: tuple[Run, ...] | None = None  # the run it was united with, or its two parts

    def atoms(self) -> Iterator[Run]:
        """What it is by now: itself, or the runs that it became."""
        if self.became is None:
            yield self
        else:
            for run in self.became:
                yield from run.atoms()


Layout = Sequence[Run]


def atoms(layout: Layout) -> list[Run]:
    """The layout in runs that are neither united nor cut further.

    >>> whole, part = Run(5), Run(2)
    >>> unite([whole], [part, Run(3)])
    >>> [run.width for run in atoms([whole])], atoms([whole])[0] in atoms([part])
    ([2, 3], True)
    """
    return [atom for run in layout for atom in run.atoms()]


def width(layout: Layout) -> int:
    """Channels in all."""
    return sum(run.width for run in atoms(layout))


def freeze(layout: Layout, why: str) -> None:
    """Let nobody change these channels."""
    for run in atoms(layout):
        run.frozen = run.frozen or why


def unite(one: Layout, other: Layout) -> None:
    """From now on channel i of the one belongs together with channel i of the other.

    Raises:
        ValueError: layouts of different width.
    """
    if width(one) != width(other):
        raise ValueError(f"got {width(one)} and {width(other)} channels: expected the same")
    while pair := _first_apart(one, other):
        a, b = sorted(pair, key=lambda run: run.width)
        if a.width < b.width:
            rest = Run(b.width - a.width, b.frozen, b.homogeneous)
            b.became = (Run(a.width, b.frozen, b.homogeneous), rest)
        else:
            a.frozen, a.homogeneous = a.frozen or b.frozen, a.homogeneous and b.homogeneous
            b.became = (a,)


def _first_apart(one: Layout, other: Layout) -> tuple[Run, Run] | None:
    pairs = zip(atoms(one), atoms(other), strict=False)
    return next(((a, b) for a, b in pairs if a is not b), None)
