"""Following the channels of any module through its own forward, as torch.fx traces it.

Inputs are taken to be (n, channels, rows, columns) where a convolution reads them and
(n, features) where a dense layer does. What is not understood freezes the channels that meet it:
they are left as they are, and whoever asks for them is told why."""

from __future__ import annotations

import copy

from torch import fx, nn

from lib.nets.kinds import check_plain
from lib.traced.functions import function_gives
from lib.traced.layers import module_gives
from lib.traced.walk import Size, Use, Value, Walk


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True


def traced(net: nn.Module) -> fx.Graph:
    """What the module's forward does in its present mode; the module is left as it is.

    Raises:
        TypeError: a forward that cannot be traced, hooks or parametrizations.
        ValueError: parameters that two modules share.

    >>> [node.op for node in traced(nn.Sequential(nn.ReLU())).nodes]
    ['placeholder', 'call_module', 'output']
    """
    check_plain(net)
    shared = {id(t): t for t in (*net.parameters(), *net.buffers())}
    try:
        return _Tracer().trace(copy.deepcopy(net, shared))
    except Exception as error:
        raise TypeError(
            f"the forward of {type(net).__name__} cannot be traced ({error}): expected no"
            " branches or loops on data; split it into modules, and pass the part without them"
        ) from error


def follow(net: nn.Module, graph: fx.Graph) -> tuple[Use, ...]:
    """All axes over channels of a module, their layouts united where channels belong together.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> [use.role for use in follow(net, traced(net))]
    ['reads', 'makes', 'reads', 'makes']
    """
    walk = Walk(net)
    for node in graph.nodes:
        walk.values[node] = _given(walk, node)
    return tuple(walk.uses.values())


def _given(walk: Walk, node: fx.Node) -> Value | Size:
    if node.op == "output":
        return walk.frozen(node, "they are the outputs of the net")
    if node.op == "call_module":
        return module_gives(walk, node)
    if node.op == "get_attr":  # a parameter or buffer that the forward takes itself
        walk.take(str(node.target).rpartition(".")[0])
    return Value() if node.op in ("placeholder", "get_attr") else function_gives(walk, node)
