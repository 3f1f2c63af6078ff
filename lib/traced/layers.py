"""What the modules of torch do to channels."""

from __future__ import annotations

from torch import fx, nn

from lib.traced.functions import kind_gives
from lib.traced.operations import module_operation
from lib.traced.runs import Run
from lib.traced.walk import Size, Value, Walk


def module_gives(walk: Walk, node: fx.Node) -> Value | Size:
    """What a module gives: layers, then what has entries for each channel, then the rest."""
    module = walk.net.get_submodule(str(node.target))
    value = walk.tensor(node)
    if value is None:
        return walk.unknown(node)
    known = value.layout is not None
    if type(module) is nn.Conv2d and (value.maps or not known):
        return _convolution(walk, node, module, value)
    if type(module) is nn.Linear and not (value.maps and known):
        walk.use(node, "reads", value, module.in_features)
        made = Value([Run(module.out_features)], pixels=1)
        return walk.use(node, "makes", made, module.out_features)
    if known and type(module) is (nn.BatchNorm2d if value.maps else nn.BatchNorm1d):
        return walk.use(node, "follows", value, module.num_features)
    if known and type(module) is nn.PReLU and module.num_parameters > 1:
        return walk.use(node, "follows", value, module.num_parameters)
    kind, homogeneous = module_operation(module)
    if kind == "random":
        return walk.unknown(node, what=" in training mode (call .eval() first)")
    return kind_gives(walk, node, kind, homogeneous)


def _convolution(walk: Walk, node: fx.Node, conv: nn.Conv2d, value: Value) -> Value | Size:
    maps = Value(value.layout, True)
    if conv.groups == 1:
        walk.use(node, "reads", maps, conv.in_channels)
        made = Value([Run(conv.out_channels)], True)
        return walk.use(node, "makes", made, conv.out_channels)
    if value.layout and conv.groups == conv.in_channels == conv.out_channels:
        return walk.use(node, "follows", maps, conv.in_channels)
    return walk.unknown(node, what=f" of {conv.groups} groups")
