"""Training states on disk: a file is written whole or not at all, so a kill at any moment leaves
one to resume from."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import torch

from lib.nets import VGG, Design
from lib.train.sgd.training import Record, State


def save(state: State, file: Path) -> None:
    """Write a state, replacing the file in one step.

    Args:
        state: from `lib.train.sgd.training`;  file: its folder must exist.

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net = initialise(VGG(width=1 / 64, hidden=2), generator=0)
    ...     save(State(3, (net,)), Path(folder, "run.pt"))
    ...     load(Path(folder, "run.pt")).epoch
    3
    """
    content = {
        "epoch": state.epoch,
        "designs": [asdict(net.design) for net in state.nets],
        "nets": [net.state_dict() for net in state.nets],
        "frozen": [[k for k, p in n.named_parameters() if not p.requires_grad] for n in state.nets],
        "momenta": [list(m) for m in state.momenta],
        "history": [asdict(record) for record in state.history],
    }
    _write(file, lambda stream: torch.save(content, stream))


def load(file: Path, device: str = "cpu") -> State:
    """Read a state that `save` wrote.

    Raises:
        FileNotFoundError: no such file.  ValueError: a file that is damaged.
    """
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as fault:  # damaged bytes end in errors of zip, of pickle and of torch
        raise ValueError(
            f"{file} cannot be read ({str(fault).partition(chr(10))[0]}): remove it, and the run"
            " goes on from what else its folder holds"
        ) from None
    nets = []
    for design, parameters in zip(content["designs"], content["nets"], strict=True):
        net = VGG(Design(**design)).to(device).eval()
        net.load_state_dict(parameters)
        nets.append(net)
    for net, names in zip(nets, content.get("frozen", [[]] * len(nets)), strict=True):
        for name in names:
            net.get_parameter(name).requires_grad_(False)
    columns = ("cross_entropy", "penalty", "accuracy")
    history = tuple(Record(r["epoch"], *(tuple(r[c]) for c in columns)) for r in content["history"])
    return State(
        content["epoch"], tuple(nets), tuple(tuple(m) for m in content["momenta"]), history
    )


def resume(file: Path, start: State, device: str = "cpu") -> State:
    """The state in the file, or `start` where there is none yet.

    Raises:
        ValueError: the file holds nets of other designs than `start`.

    >>> from lib.nets import VGG
    >>> resume(Path("/nowhere"), State(0, (VGG(width=1 / 64, hidden=2),))).epoch
    0
    """
    if not file.exists():
        return start
    state = load(file, device)
    found, wanted = [n.design for n in state.nets], [n.design for n in start.nets]
    if found != wanted:
        raise ValueError(
            f"{file.name} holds nets {found}: expected {wanted}; remove it or train into another"
            " folder"
        )
    return state


def remember(file: Path | None, compute: Callable[[], dict]) -> dict:
    """What the file holds, or compute() once, written to the file; without a file, compute().

    Args:
        file: JSON, written in one step as states are; its folder must exist.
        compute: gives a dict of numbers, texts and lists.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [remember(Path(folder, "x.json"), lambda: {"x": [value]}) for value in (1, 2)]
    [{'x': [1]}, {'x': [1]}]
    """
    if file is None:
        return compute()
    if not file.exists():
        content = json.dumps(compute()).encode()
        _write(file, lambda stream: stream.write(content))
    return json.loads(file.read_bytes())


def _write(file: Path, put: Callable[[BinaryIO], object]) -> None:
    """Fill a file beside it and put it into place in one step."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            put(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
