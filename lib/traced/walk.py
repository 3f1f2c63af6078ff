"""A walk over the graph of a module: what each node gives, and which axes run over channels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from lib.traced.runs import Layout, Run, atoms, freeze, unite, width


@dataclass(frozen=True)
class Value:
    """A tensor of the net.

    Args:
        layout: its channels, None where they are not known.
        maps: whether it is (n, channels, rows, columns), else (n, features).
        pixels: numbers for each channel where that is known to be one, else None.
        why: the layout is not known.
    """

    layout: Layout | None = None
    maps: bool = False
    pixels: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class Size:
    """The shape of a tensor, or a number made of shapes; index 0 is the number of samples."""

    of: Value | None
    index: int | None = None


@dataclass(frozen=True)
class Use:
    """A module with an axis over channels.

    Args:
        name: of the module;  role: "makes" or "follows" (first axis), or "reads" (second axis).
        layout: the channels;  entries: how many of the axis belong to each.
        maker: of a BatchNorm that alone reads a layer, that layer.
    """

    name: str
    role: str
    layout: Layout
    entries: int = 1
    maker: str | None = None


class Walk:
    """One walk over the graph of a net."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.values: dict[fx.Node, Value | Size] = {}
        self.uses: dict[tuple[str, str], Use] = {}
        self.taken: set[str] = set()  # modules whose parameters the forward takes itself

    def frozen(self, node: fx.Node, why: str) -> Value:
        """Nobody changes the channels that this node takes."""
        for source in node.all_input_nodes:
            value = self.values[source]
            tensor = value if isinstance(value, Value) else value.of
            if tensor is not None and tensor.layout is not None:
                freeze(tensor.layout, why)
        return Value(why=why)

    def unknown(self, node: fx.Node, _: bool = False, what: str = "") -> Value | Size:
        """What is not followed: of numbers of shapes a number, else nobody changes its channels."""
        values = [self.values[source] for source in node.all_input_nodes]
        if node.op == "call_module":
            self.take(str(node.target))
        if values and all(isinstance(v, Size) and v.of is None for v in values):
            return Size(None)
        reasons = [v.why for v in values if isinstance(v, Value) and v.why]
        own = f"they meet {described(node, self.net)}{what}, not followed here"
        return self.frozen(node, reasons[0] if reasons else own)

    def take(self, name: str) -> None:
        """Nobody changes a module that is used in a way that is not followed."""
        self.taken.add(name)
        for use in self.uses.values():
            if use.name == name:
                freeze(use.layout, f"{name} is also used in a way that is not followed here")

    def use(self, node: fx.Node, role: str, value: Value, total: int) -> Value:
        """Note an axis of `total` entries over the channels of a value."""
        name, layout = str(node.target), value.layout
        old = self.uses.get((name, role))
        if layout is None:  # the inputs of the net, or what something unknown gave
            if old:
                freeze(old.layout, f"{name} also acts on channels that are not known")
            layout = [Run(total, f"{name} acts on channels that are not known")]
        entries, rest = divmod(total, width(layout))
        if rest or (entries != 1 and (value.maps or value.pixels == 1)):
            return self.frozen(node, f"{name} acts on {total} entries, not one for each")
        if old and (old.entries, width(old.layout)) != (entries, width(layout)):
            freeze(old.layout, f"{name} is used in two ways")
            return self.frozen(node, f"{name} is used in two ways")
        if old:
            unite(old.layout, layout)
        else:
            self.uses[name, role] = Use(name, role, layout, entries, self.maker(node, role))
        if name in self.taken:
            self.take(name)
        return Value(layout, value.maps, value.pixels)

    def maker(self, node: fx.Node, role: str) -> str | None:
        """The layer that a module of entries for each channel alone reads, both used once."""
        before = node.all_input_nodes[0]
        made = (str(before.target), "makes") in self.uses and before.op == "call_module"
        calls = [n for n in node.graph.nodes if n.target in (before.target, node.target)]
        alone = made and role == "follows" and len(before.users) == 1 and len(calls) == 2
        return str(before.target) if alone else None

    def tensor(self, node: fx.Node) -> Value | None:
        """The one tensor that a node takes, if it takes no more and nothing else of the net."""
        value = self.values[node.all_input_nodes[0]] if len(node.all_input_nodes) == 1 else None
        first = bool(node.args) and node.args[0] is node.all_input_nodes[0]
        return value if first and isinstance(value, Value) else None

    def marked(self, value: Value, homogeneous: bool) -> Value:
        """The value of what keeps positive multiples of its channels multiples, or does not."""
        for run in atoms(value.layout or ()):
            run.homogeneous = run.homogeneous and homogeneous
        return value


def argument(node: fx.Node, place: int, name: str, default: object) -> object:
    """An argument by its place or name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def described(node: fx.Node, net: nn.Module) -> str:
    """A node in words."""
    if node.op == "call_module":
        return f"{type(net.get_submodule(str(node.target))).__name__} {node.target}"
    where = [name for name in node.meta.get("nn_module_stack", {}) if name]
    name = node.target if isinstance(node.target, str) else node.target.__name__
    return f"{name}() in {where[-1] if where else 'the forward of the net'}"
