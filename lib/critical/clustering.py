"""Telling critical points apart: clusters modulo the symmetries of a net."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.critical.polishing import CriticalPoint
from lib.nets import MLP, forward
from lib.nets.dense import check_inputs
from lib.symmetry import canonical, orbit_distance


@dataclass(frozen=True)
class Cluster:
    """Critical points that are one function, up to symmetry and the tolerances asked for.

    Args:
        representative: the member of smallest gradient, one net, in canonical form.
        members: their indices in the flattened batch, (count,), int64.
        loss: the representative's.
        output: f(x) of the representative, (n, m_L).
        spread: largest root mean square difference of a member's output from the representative's.
    """

    representative: MLP
    members: Tensor
    loss: float
    output: Tensor
    spread: float

    @property
    def count(self) -> int:
        return len(self.members)


def cluster(
    points: CriticalPoint | MLP,
    x: Tensor,
    *,
    losses: Tensor | None = None,
    loss_tolerance: float = 1e-6,
    output_tolerance: float = 1e-4,
    input_tolerance: float | None = None,
) -> tuple[Cluster, ...]:
    """Group critical points by loss, output function on the data and, if asked, input weights
    modulo symmetry.

    Two points are one cluster when their losses differ by at most `loss_tolerance`, their outputs
    f(x) by at most `output_tolerance` in root mean square, and their (w, b) by at most
    `input_tolerance` in `orbit_distance`. Mirror images x -> -x, y -> -y are different functions
    and stay apart.

    Args:
        points: converged critical points (`polish(...).found`), or nets with their `losses`; any
            batch, taken flat.
        x: inputs (n, m_0) on which functions are compared.
        losses: (*batch), only with nets.
        input_tolerance: compare input weights as well (two-layer nets); None leaves that out, since
            neurons with zero output weights may point anywhere.
    Returns:
        Clusters by falling loss; those of one loss in the order of their outputs.
    Raises:
        ValueError: points that did not converge, losses missing or superfluous, a negative
            tolerance, or a point that is close to two clusters that are not close to one another
            (the tolerance does not separate these points).

    Source: (Zhang et al. 2021, Fig. 4) clusters by loss, output function and input parameters.

    >>> w, a = torch.tensor([1.0, -1.0, 2.0]), torch.tensor([3.0, -3.0, 1.0])
    >>> nets = MLP((w[:, None, None], a[:, None, None]))
    >>> [c.count for c in cluster(nets, torch.ones(4, 1), losses=torch.zeros(3))]
    [1, 2]
    """
    net, loss, gradient = _flat(points, losses)
    alike = _Alike(loss_tolerance, output_tolerance, input_tolerance)
    check_inputs(net, x)
    output = forward(net, x).detach()
    members: dict[int, list[int]] = {}  # of each leader
    # In the order of their gradients, so that the best point of each cluster is the one the others
    # are compared with.
    for i in gradient.sort(stable=True).indices.tolist():
        near = [j for j in members if alike(net, loss, output, i, j)]
        if len(near) > 1:
            raise ValueError(
                f"point {i} is within tolerance of clusters led by points {near}: {alike} do not"
                " separate these points; polish further, or change the tolerances"
            )
        members.setdefault(near[0] if near else i, []).append(i)
    found = [
        Cluster(
            representative=canonical(net[j]),
            members=torch.tensor(sorted(of)),
            loss=float(loss[j]),
            output=output[j],
            spread=max(_rms(output[i], output[j]) for i in of),
        )
        for j, of in members.items()
    ]
    unit = max(loss_tolerance, 1e-300)
    return tuple(sorted(found, key=lambda c: (-round(c.loss / unit), c.output.flatten().tolist())))


@dataclass(frozen=True)
class _Alike:
    """The tolerances within which two points are one."""

    loss: float
    output: float
    input: float | None

    def __post_init__(self) -> None:
        for name in ("loss", "output", "input"):
            tolerance = getattr(self, name)
            if tolerance is not None and not tolerance >= 0:
                raise ValueError(f"{name}_tolerance is {tolerance}: expected >= 0")

    def __str__(self) -> str:
        return f"tolerances loss {self.loss}, output {self.output}, input {self.input}"

    def __call__(self, net: MLP, loss: Tensor, output: Tensor, i: int, j: int) -> bool:
        if abs(float(loss[i] - loss[j])) > self.loss or _rms(output[i], output[j]) > self.output:
            return False
        if self.input is None:
            return True
        return orbit_distance(net[i], net[j], output_weights=False) <= self.input


def _flat(points: CriticalPoint | MLP, losses: Tensor | None) -> tuple[MLP, Tensor, Tensor]:
    if isinstance(points, CriticalPoint):
        if losses is not None:
            raise ValueError("got losses and critical points: these carry their own")
        if not bool(points.converged.all()):
            lost = int((~points.converged).sum())
            raise ValueError(
                f"{lost} of {points.converged.numel()} points did not converge: pass points.found"
            )
        net, loss, gradient = points.net, points.loss, points.gradient
    else:
        if losses is None or losses.shape != points.batch:
            got = None if losses is None else tuple(losses.shape)
            raise ValueError(f"losses are {got}: nets need losses of shape {tuple(points.batch)}")
        net, loss, gradient = points, losses, torch.zeros_like(losses)
    flat = net.map(lambda p: p.reshape(-1, *p.shape[len(net.batch) :]))
    return flat, loss.reshape(-1), gradient.reshape(-1)


def _rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())
