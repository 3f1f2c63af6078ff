"""The critical points of earlier chapters, certified, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator, Tensor

from experiments.depth.planted import critical_net
from lib.certify import certify_point, certify_split
from lib.certify.points import CertifiedPoint
from lib.critical import cluster, polish
from lib.curvature import hessian, inertia
from lib.depth import lift
from lib.nets import MLP, init, risk
from lib.train.descent import descend
from lib.width import split_into

EQUAL, MIXED = (0.5, 0.5), (1.5, -0.5)
Pair = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of the table.

    Args:
        place: where the point stands in this book;  net, x, y: as there.
        certificate: None where nothing is proved;  reason: why not.
    """

    place: str
    net: MLP
    x: Tensor
    y: Tensor
    certificate: CertifiedPoint | None
    reason: str = ""


def examine(place: str, net: MLP, x: Tensor, y: Tensor) -> Entry:
    """A certificate, or the reason why there is none."""
    try:
        return Entry(place, net, x, y, certify_point(net, x, y))
    except ValueError as refused:
        return Entry(place, net, x, y, None, str(refused).split(":")[0])


def functions_of_width(
    width: int, x: Tensor, y: Tensor, *, starts: int, generator: Generator
) -> list[MLP]:
    """One net of each function that training and polishing tanh nets of a width finds, zero and
    embedded ones aside, by falling loss."""
    start = init((1, width, 1), std=1.0, output_bias=False, batch=(starts,), generator=generator)
    trained = descend(start, x, y, steps=4000, lr=0.02, optimizer="adam", records=4)
    found = polish(trained.net, x, y, max_steps=100).found
    states = inertia(hessian(found.net, x, y), require=False)
    proper = (states.zero == 0) & states.clear & (found.moved < 10)
    return [c.representative for c in cluster(found[proper], x)]


def carried(entry: Entry, shares: Sequence[float]) -> Pair | None:
    """Counts of the first neuron's split: proved, and those of the wide net in floats; None where B
    is not proved regular, as at an exact fit, where it is zero."""
    assert entry.certificate is not None
    try:
        proved = certify_split(entry.certificate, entry.x, entry.y, 1, 0, shares).counts
    except ValueError:
        return None
    wide = hessian(split_into(entry.net, 1, 0, shares), entry.x, entry.y)
    return proved, inertia(wide, uncertainty=1e-13, require=False).counts


def lifted(generator: Generator) -> list[Entry]:
    """An isolated point of an ELU net as in chapter 02, the same lifted by a layer, and a ReLU
    net."""
    while True:  # neurons in one piece on all data can be rescaled: that is a zero eigenvalue
        one = critical_net((2, 2, 2), "elu", saddle=True, generator=generator)
        if not one.inertia.counts[1]:
            break
    other = critical_net((2, 2, 2), "relu", saddle=False, generator=generator)
    deep = lift(one.net, one.x, 1, 3, generator=generator)
    return [
        examine("ch. 2, ELU 2-2-2", one.net, one.x, one.y),
        examine("ch. 2, its lift 2-2-3-2", deep, one.x, one.y),
        examine("ch. 2, ReLU 2-2-2", other.net, other.x, other.y),
    ]


def loss_of(entry: Entry) -> float:
    """The loss of the point, as a float."""
    return float(risk(entry.net, entry.x, entry.y))


def copied(entry: Entry) -> MLP:
    """The net with its first neuron split."""
    return split_into(entry.net, 1, 0, (0.4, 0.6))


def line(entry: Entry) -> dict[str, str]:
    """One line of the table in the chapter."""
    found = {"point": entry.place, "loss": f"{loss_of(entry):.6f}"}
    if entry.certificate is None:
        return found | {"radius": "–", "isolation": "–", "inertia": f"refused: {entry.reason}"}
    c = entry.certificate
    pair = carried(entry, EQUAL)
    return found | {
        "radius": f"{c.radius:.0e}",
        "isolation": f"{c.isolation:.0e}",
        "inertia": str(c.counts),
        "first neuron halved": str(pair[0]) if pair else "B not proved regular",
    }
