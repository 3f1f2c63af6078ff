"""What the functions and methods of torch do to channels, and modules that are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import fx

from lib.traced.operations import operation
from lib.traced.runs import unite, width
from lib.traced.walk import Size, Value, Walk, argument, described

Handler = Callable[[Walk, fx.Node, bool], Value | Size]


def function_gives(walk: Walk, node: fx.Node) -> Value | Size:
    """What a function or method gives."""
    return kind_gives(walk, node, *operation(node.target))


def kind_gives(walk: Walk, node: fx.Node, kind: str, homogeneous: bool) -> Value | Size:
    """What an operation of a kind of `lib.traced.operations` gives."""
    return _KINDS.get(kind, Walk.unknown)(walk, node, homogeneous)


def _pointwise(walk: Walk, node: fx.Node, homogeneous: bool) -> Value | Size:
    value = walk.tensor(node)
    active = "dropout" in str(node.target) and node.op != "call_module"
    if value is None or (active and argument(node, 2, "training", True)):
        return walk.unknown(node, what=" in training mode" if active else "")
    return walk.marked(value, homogeneous)


def _pool(walk: Walk, node: fx.Node, homogeneous: bool) -> Value | Size:
    value = walk.values[node.all_input_nodes[0]]
    others = [walk.values[n] for n in node.all_input_nodes[1:]]
    sizes = all(isinstance(v, Size) and v.of is None for v in others)
    if not isinstance(value, Value) or not sizes or not value.maps:
        return walk.unknown(node)
    size = argument(node, 1, "output_size", ())
    if node.op == "call_module":
        size = getattr(walk.net.get_submodule(str(node.target)), "output_size", ())
    one = size in (1, (1, 1), [1, 1]) and "adaptive" in described(node, walk.net).lower()
    return walk.marked(Value(value.layout, True, 1 if one else None), homogeneous)


def _pad(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    """Padding of rows and columns."""
    value, sides = walk.tensor(node), argument(node, 1, "pad", ())
    spatial = isinstance(sides, (tuple, list)) and len(sides) <= 4
    if value is None or not value.maps or not spatial:
        return walk.unknown(node, what=" of the channels (use a 1x1 convolution)")
    return walk.marked(Value(value.layout, True), argument(node, 3, "value", 0) in (0, None))


def _pair(walk: Walk, node: fx.Node, homogeneous: bool) -> Value | Size:
    """Sums, products and the like of two tensors, or of a tensor and a number."""
    nodes = [n for n in node.args[:2] if isinstance(n, fx.Node)]
    values = [walk.values[n] for n in nodes]
    if set(nodes) != set(node.all_input_nodes):
        return walk.unknown(node)
    if all(isinstance(v, Size) and v.of is None for v in values):
        return Size(None)
    first, last = values[0], values[-1]
    if not (isinstance(first, Value) and isinstance(last, Value)) or not first.layout:
        return walk.unknown(node)
    if len(values) == 1:  # x * 2 and x / 2 are homogeneous, x + 2 and 2 / x are not
        return walk.marked(first, not homogeneous and node.args[0] is nodes[0])
    if not last.layout or first.maps != last.maps or width(first.layout) != width(last.layout):
        return walk.unknown(node)
    unite(first.layout, last.layout)
    return walk.marked(Value(first.layout, first.maps, first.pixels or last.pixels), homogeneous)


def _join(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    """Concatenation along the channels."""
    parts, dim = node.args[0], argument(node, 1, "dim", 0)
    nodes = parts if isinstance(parts, (list, tuple)) else []
    values = [walk.values[n] for n in nodes if isinstance(n, fx.Node)]
    known = [v for v in values if isinstance(v, Value) and v.layout]
    alike = known and all(v.maps == known[0].maps for v in known)
    axes = (1, -3) if alike and known[0].maps else (1, -1)
    flat = alike and not known[0].maps and any(v.pixels != 1 for v in known)
    if not alike or len(known) != len(nodes) or dim not in axes or flat:
        return walk.unknown(node, what=f" along axis {dim}")
    layout = [run for v in known for run in v.layout or ()]
    pixels = 1 if all(v.pixels == 1 for v in known) else None
    return Value(layout, known[0].maps, pixels)


def _flatten(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    value = walk.tensor(node)
    axes = argument(node, 1, "start_dim", 0), argument(node, 2, "end_dim", -1)
    if value is None or (node.op != "call_module" and axes != (1, -1)):
        return walk.unknown(node)
    return Value(value.layout, False, value.pixels)


def _reshape(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    """`x.view(x.size(0), -1)`; any number in its place would hold for one width alone."""
    value, shape = walk.values[node.all_input_nodes[0]], node.args[1:]
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    samples = [walk.values[n] for n in node.all_input_nodes[1:]]
    rows = len(samples) == 1 and isinstance(samples[0], Size) and samples[0].index == 0
    if not isinstance(value, Value) or not rows or len(wanted) != 2 or wanted[1] != -1:
        return walk.unknown(node, what=" (use torch.flatten(x, 1))")
    return Value(value.layout, False, value.pixels)


def _average(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    """The mean over rows and columns."""
    value, dims = walk.tensor(node), argument(node, 1, "dim", None)
    both = isinstance(dims, (tuple, list)) and set(dims) in ({2, 3}, {-1, -2})
    if value is None or not value.maps or not both:
        return walk.unknown(node)
    return Value(value.layout, bool(argument(node, 2, "keepdim", False)), 1)


def _size(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    value, index = walk.tensor(node), argument(node, 1, "dim", None)
    return walk.unknown(node) if value is None else _sized(walk, node, Size(value), index)


def _attribute(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    value = walk.values[node.all_input_nodes[0]]
    if not isinstance(value, Value) or node.args[1] != "shape":
        return walk.unknown(node, what=f" .{node.args[1]}")
    return Size(value)


def _item(walk: Walk, node: fx.Node, _: bool) -> Value | Size:
    size = walk.values[node.all_input_nodes[0]]
    if isinstance(size, Size) and size.of is not None:
        return _sized(walk, node, size, node.args[1])
    return walk.unknown(node)


def _sized(walk: Walk, node: fx.Node, size: Size, index: object) -> Value | Size:
    """A number of a shape; that of the channels is not to be used."""
    space = (2, 3, -1, -2, slice(2, None), slice(-2, None), slice(2, 4))
    if index is None:
        return size
    if index == 0:
        return Size(None, 0)
    if size.of and size.of.maps and index in space:
        return Size(None)
    return walk.unknown(node, what=" of the number of channels")


_KINDS: Mapping[str, Handler] = {
    "pointwise": _pointwise,
    "pool": _pool,
    "pad": _pad,
    "pair": _pair,
    "join": _join,
    "flatten": _flatten,
    "reshape": _reshape,
    "average": _average,
    "size": _size,
    "attribute": _attribute,
    "item": _item,
}
