"""What the notebook of `templates/own_net.py` measures on a net of the reader's."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib.certificate import certify_modules
from lib.graft import graft
from lib.merge import merge_channels
from lib.nets import Loss, cross_entropy, mse
from lib.nets.samples import check_samples
from lib.traced import channel_groups
from lib.width import merge_channel, split_channel

CURVATURE = 300  # parameters up to which both Hessians are computed


def load_net(module: str) -> nn.Module:
    """The module that `path.py:function` makes, in float64 and eval mode.

    Raises:
        ValueError: not of that form, or no such function.  FileNotFoundError: no such file.
        TypeError: the function gives no module.
    """
    path, _, function = module.rpartition(":")
    if not path.endswith(".py") or not function.isidentifier():
        raise ValueError(f"module is {module!r}: expected path.py:function, such as my_net.py:make")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}: expected the Python file of module={module!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    make = getattr(code, function, None)
    if not callable(make):
        raise ValueError(f"{path} has no function {function}: expected one that makes the module")
    net = make()
    if not isinstance(net, nn.Module):
        raise TypeError(f"{module} gives {type(net).__name__}: expected a torch.nn.Module")
    return net.double().eval()


def load_data(data: str, samples: int) -> tuple[Tensor, Tensor]:
    """The first x and y of an .npz file: x in float64, y class indices or float64 targets.

    Raises:
        FileNotFoundError: no such file.  ValueError: no .npz file with x and y of as many finite
            samples.
    """
    if not Path(data).is_file():
        raise FileNotFoundError(f"no file {data!r}: expected an .npz file with x and y")
    try:
        with np.load(data, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, AttributeError) as error:
        raise ValueError(
            f"{data} is no .npz file of numbers ({error}): np.savez makes one"
        ) from None
    if not {"x", "y"} <= set(arrays):
        raise ValueError(f"{data} holds {sorted(arrays)}: expected x and y")
    x, y = (torch.from_numpy(np.array(arrays[name])) for name in ("x", "y"))
    x, y = x.double(), y.double() if y.is_floating_point() else y.long()
    check_samples(x, y)
    return x[:samples], y[:samples]


def loss_for(y: Tensor) -> Loss:
    """Cross entropy for class indices, else the mean squared error."""
    return mse if y.is_floating_point() else cross_entropy


def understood(net: nn.Module) -> pd.DataFrame:
    """The groups of channels: width, what makes and reads them, and why some are left alone."""
    return pd.DataFrame(
        [
            {
                "group": g.name,
                "channels": g.width,
                "made by": ", ".join(g.makers),
                "read by": ", ".join(g.readers),
                "left alone": g.frozen or "",
            }
            for g in channel_groups(net)
        ]
    )


def free_groups(net: nn.Module) -> list[str]:
    """The groups that can be changed.

    Raises:
        ValueError: there are none.
    """
    groups = channel_groups(net)
    free = [group.name for group in groups if group.frozen is None]
    if not free:
        reasons = "; ".join(f"{g.name}: {g.frozen}" for g in groups)
        raise ValueError(f"no channels of this net can be changed ({reasons or 'it makes none'})")
    return free


@torch.no_grad()
def splits(net: nn.Module, x: Tensor, alpha: float) -> pd.DataFrame:
    """Every group split at its first channel, and merged again: the largest change of an output,
    relative to the largest output."""
    before, rows = net(x.clone()), []
    for name in free_groups(net):
        wide = split_channel(net, name, 0, alpha)
        back = merge_channel(wide, name, 0)
        gaps = [_relative(m(x.clone()), before) for m in (wide, back)]
        rows.append({"group": name, "after the split": gaps[0], "merged again": gaps[1]})
    return pd.DataFrame(rows)


def merges(net: nn.Module, x: Tensor, cosines: list[float]) -> pd.DataFrame:
    """What merging channels of at least some cosine costs, in all and for each that went."""
    before, rows = _channels(net), []
    for cosine in cosines:
        found = merge_channels(net, x, cosine=cosine)
        gone, change = before - _channels(found.net), found.change / found.size
        rows.append(
            {
                "cosine": cosine,
                "channels gone": gone,
                "parameters": sum(p.numel() for p in found.net.parameters()),
                "relative change": change,
                "for each channel": change / gone if gone else 0.0,
            }
        )
    return pd.DataFrame(rows)


def certificate(net: nn.Module, x: Tensor, y: Tensor, alpha: float) -> pd.Series:
    """What a split of the first group preserved; Hessians up to `CURVATURE` parameters."""
    wide = split_channel(net, free_groups(net)[0], 0, alpha)
    small = sum(p.numel() for p in wide.parameters()) <= CURVATURE
    found = certify_modules(net, wide, x, y, loss_for(y), curvature=small)
    counts = {
        f"eigenvalues {when}": (int(i.negative), int(i.zero), int(i.positive))
        if i
        else "not computed"
        for when, i in (("before", found.inertia_before), ("after", found.inertia_after))
    }
    return pd.Series(
        {
            "parameters": found.parameters,
            "largest change of an output": float(found.output_gap),
            "loss before": found.risk_before.item(),
            "loss after": found.risk_after.item(),
            "gradient before (L1)": float(found.gradient_before),
            "gradient after (L1)": float(found.gradient_after),
            **counts,
        },
        name="a split of one channel",
    )


def self_grafts(net: nn.Module, x: Tensor) -> pd.DataFrame:
    """The net grafted onto itself after each of its children: 0 is a perfect match."""
    rows = []
    for name, _ in net.named_children():
        try:
            relative, why = graft(net, net, x, name, products=torch.float64).relative, ""
        except (TypeError, ValueError) as error:
            relative, why = float("nan"), str(error)
        rows.append({"after": name, "relative loss": relative, "refused": why})
    return pd.DataFrame(rows, columns=["after", "relative loss", "refused"])


def _relative(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-300)).item()


def _channels(net: nn.Module) -> int:
    return sum(group.width for group in channel_groups(net))
