"""Reading nets back whose numbers of channels are no longer those of their class."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from lib.nets.flow import set_parameter, set_widths
from lib.nets.kinds import JOINTS, PER_CHANNEL
from lib.traced.editing import Net


def load_state(net: Net, state: Mapping[str, Tensor]) -> Net:
    """A copy of a net with the parameters and buffers of a saved one that may have other numbers of
    channels.

    `save_file(changed.state_dict(), path)` of safetensors saves what a split or merge gave;
    `load_state(net, load_file(path))` reads it back.

    Args:
        net: of the architecture from which the saved net was made; left as it is.
        state: the other's `state_dict()`.
    Raises:
        TypeError: another shape for a module other than Linear, Conv2d, BatchNorm and PReLU.
        ValueError: names that are missing or unknown, or another number of dimensions.

    >>> from lib.width import split_channel
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> load_state(net, split_channel(net, "0", 1, 0.3).state_dict())[2]
    Linear(in_features=4, out_features=1, bias=True)
    """
    own = copy.deepcopy(net)
    there = own.state_dict()
    if apart := sorted(set(there) ^ set(state)):
        kind = "missing" if apart[0] in there else "not in the net"
        raise ValueError(
            f"{apart[0]} is {kind}: expected the {len(there)} names of {type(net).__name__}"
        )
    for name, tensor in state.items():
        where, _, short = name.rpartition(".")
        module, old = own.get_submodule(where), there[name]
        if tensor.dim() != old.dim():
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}: expected {old.dim()} dimensions"
            )
        if tensor.shape != old.shape and type(module) not in (*JOINTS, *PER_CHANNEL):
            raise TypeError(
                f"{name} of {type(module).__name__} has shape {tuple(tensor.shape)}: expected"
                f" {tuple(old.shape)}"
            )
        set_parameter(module, short, tensor)
    for module in own.modules():
        _count(module)
    return own


def _count(module: nn.Module) -> None:
    """Tell a module of the sizes of its tensors."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        outputs, inputs = module.weight.shape[:2]
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            if module.groups == module.in_channels == module.out_channels:
                module.groups = outputs
            inputs *= module.groups
        set_widths(module, inputs=inputs, outputs=outputs)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        sizes = [len(t) for t in module.state_dict().values() if t.dim()]
        module.num_features = sizes[0] if sizes else module.num_features
