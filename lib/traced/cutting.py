"""Cutting a module in two where one tensor alone passes."""

from __future__ import annotations

import copy

from torch import fx, nn

from lib.traced.following import traced


def halves(net: nn.Module, name: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """What leads to the output of the submodule `name`, and what follows it, in eval mode.

    The two share the parameters of `net`, which is left as it is.

    Raises:
        TypeError: a forward that cannot be traced, or of several inputs.
        ValueError: no such submodule in the forward, one that gives several tensors, or a place
            that another tensor passes too.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> head, tail = halves(net, "1")
    >>> bool(torch.equal(tail(head(torch.ones(4, 2))), net(torch.ones(4, 2))))
    True
    """
    shared = {id(t): t for t in (*net.parameters(), *net.buffers())}
    own = copy.deepcopy(net, shared).eval()
    graph = traced(own)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise TypeError(f"{type(net).__name__} takes {len(inputs)} inputs: expected one")
    cut = _output(graph, name)
    after = _after(graph, cut)
    _check_alone(graph, cut, after, name)
    first, second = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in _before(cut):
        copies[node] = first.node_copy(node, copies.__getitem__)
    first.output(copies[cut])
    copies = {cut: second.placeholder("features")}
    for node in after:
        copies[node] = second.node_copy(node, copies.__getitem__)
    return fx.GraphModule(own, first), fx.GraphModule(own, second)


def _output(graph: fx.Graph, name: str) -> fx.Node:
    """The one node in a submodule that is used outside it."""
    stacks = {node: node.meta.get("nn_module_stack", {}) for node in graph.nodes}
    inside = {
        node
        for node, stack in stacks.items()
        if name in [key.partition("@")[0] for key in stack if key]
    }
    leaving: list[fx.Node] = [
        node for node in graph.nodes if node in inside and set(node.users) - inside
    ]
    if not inside:
        raise ValueError(
            f"no submodule {name!r} in the forward: expected one such as {_some(stacks)}"
        )
    if len(leaving) != 1:
        raise ValueError(
            f"submodule {name!r} gives {len(leaving)} tensors: expected one that is used once and"
            " gives one"
        )
    return leaving[0]


def _some(stacks: dict[fx.Node, dict[str, object]]) -> str:
    names = dict.fromkeys(
        key.partition("@")[0] for stack in stacks.values() for key in stack if key
    )
    return ", ".join(sorted(names, key=lambda name: (name.count("."), list(names).index(name)))[:8])


def _before(cut: fx.Node) -> list[fx.Node]:
    needed, waiting = {cut}, [cut]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - needed
        needed |= new
        waiting += new
    return [node for node in cut.graph.nodes if node in needed]


def _after(graph: fx.Graph, cut: fx.Node) -> list[fx.Node]:
    reached = {cut}
    for node in graph.nodes:
        if set(node.all_input_nodes) & reached:
            reached.add(node)
    return [node for node in graph.nodes if node in reached and node is not cut]


def _check_alone(graph: fx.Graph, cut: fx.Node, after: list[fx.Node], name: str) -> None:
    known = {cut, *after}
    for node in after:
        for source in node.all_input_nodes:
            if source not in known:
                raise ValueError(
                    f"the net cannot be cut after {name!r}: {source.name} reaches {node.name}"
                    " around it; expected a place that one tensor alone passes, such as between two"
                    " stages"
                )
    if not any(node.op == "output" for node in after):
        raise ValueError(f"the outputs do not depend on {name!r}: expected a place before them")
