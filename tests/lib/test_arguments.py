"""Odd arguments of public functions, drawn at random: a right answer, or a TypeError or ValueError
that a line of lib raises. Never another error, and never another number for the same values in
another layout. FUZZ_CASES: how many draws a function gets."""

from __future__ import annotations

import math
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.critical import slow_windows
from lib.curvature import inertia
from lib.depth import layer_affine_error, linearised_share
from lib.merge import group_directions, merge_layers, merge_neurons
from lib.nets import (
    MLP,
    cross_entropy,
    features,
    flatten,
    forward,
    gradient,
    init,
    mse,
    preactivations,
    risk,
    stack,
    unflatten,
)
from lib.similarity import cka, regression, svcca
from lib.symmetry import canonical, orbit_distance, permute, rescale
from lib.train.descent import record_steps
from lib.width import embed, general_dimension, null_embed, split, split_into

ROOT = Path(__file__).resolve().parents[2]
NET = init((2, 3, 1), "tanh", generator=0)
OTHER = init((2, 3, 1), "tanh", generator=1)
RELU = init((2, 3, 1), "relu", generator=0)
X = torch.randn(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
Y = torch.sin(X[:, :1])
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
MATRIX = torch.diag(torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64))
LOSSES = torch.cat([torch.ones(5), 0.1 * torch.ones(5)]).double()

CALLS: dict[str, tuple[Callable[..., object], dict[str, object]]] = {
    "forward": (forward, {"net": NET, "x": X}),
    "preactivations": (preactivations, {"net": NET, "x": X}),
    "features": (features, {"net": NET, "x": X}),
    "risk": (risk, {"net": NET, "x": X, "y": Y}),
    "gradient": (gradient, {"net": NET, "x": X, "y": Y}),
    "mse": (mse, {"output": Y, "y": Y + 1}),
    "cross_entropy": (cross_entropy, {"output": LOGITS, "y": LABELS}),
    "inertia": (inertia, {"h": MATRIX}),
    "flatten": (flatten, {"net": NET}),
    "unflatten": (unflatten, {"vector": flatten(NET), "like": NET}),
    "split": (split, {"net": NET, "layer": 1, "neuron": 0, "alpha": 0.3}),
    "split_into": (split_into, {"net": NET, "layer": 1, "neuron": 0, "shares": [0.3, 0.7]}),
    "null_embed": (null_embed, {"net": NET, "layer": 1, "bias": 0.3}),
    "embed": (embed, {"net": NET, "steps": [(1, 0, 0.3)]}),
    "general_dimension": (general_dimension, {"narrow": (2, 3, 1), "wide": (2, 4, 1)}),
    "linearised_share": (linearised_share, {"net": RELU, "x": X}),
    "layer_affine_error": (layer_affine_error, {"net": RELU, "x": X}),
    "merge_neurons": (merge_neurons, {"net": NET, "cosine": 0.9}),
    "merge_layers": (merge_layers, {"net": RELU, "x": X}),
    "group_directions": (group_directions, {"vectors": X, "cosine": 0.9}),
    "canonical": (canonical, {"net": NET}),
    "orbit_distance": (orbit_distance, {"a": NET, "b": OTHER}),
    "permute": (permute, {"net": NET, "orders": [[2, 0, 1]]}),
    "rescale": (rescale, {"net": RELU, "layer": 1, "neuron": 0, "factor": 2.0}),
    "record_steps": (record_steps, {"steps": 100, "records": 10}),
    "slow_windows": (slow_windows, {"steps": torch.arange(10), "losses": LOSSES}),
    "stack": (stack, {"nets": [NET, OTHER]}),
    "cka": (cka, {"x": X, "y": LOGITS}),
    "svcca": (svcca, {"x": X, "y": LOGITS}),
    "regression": (regression, {"x": X, "y": LOGITS}),
    "init": (init, {"widths": (2, 3, 1), "activation": "tanh", "generator": 0}),
}

ODD_NUMBERS = [True, None, "1", math.nan, math.inf, -1, 0, 10**6, 0.5, 1e300, 1e-320, np.int64(1)]
ODD_NUMBERS += [np.float32(0.5), torch.tensor(1), torch.tensor([0.5]), [], (1, 2)]


def relaid(x: torch.Tensor) -> torch.Tensor:
    """The same values with strides of another tensor."""
    wide = torch.stack([x, x], -1)
    return wide[..., 0]


# which give the same values, so that an answer must be the same
HARMLESS: dict[str, Callable[[torch.Tensor], object]] = {
    "not contiguous": relaid,
    "requires grad": lambda x: x.clone().requires_grad_() if x.is_floating_point() else x,
}
ODD_TENSORS: dict[str, Callable[[torch.Tensor], object]] = {
    "float16": lambda x: x.to(torch.float16),
    "bfloat16": lambda x: x.to(torch.bfloat16),
    "float32": lambda x: x.to(torch.float32),
    "int64": lambda x: x.to(torch.int64),
    "bool": lambda x: x > 0,
    "complex": lambda x: x.to(torch.complex128),
    "no rows": lambda x: x[:0],
    "one row": lambda x: x[:1],
    "no columns": lambda x: x[..., :0],
    "a dimension more": lambda x: x[None],
    "a dimension less": lambda x: x[0],
    "a scalar": lambda x: x.flatten()[0],
    "a nan": lambda x: with_entry(x, math.nan),
    "an inf": lambda x: with_entry(x, -math.inf),
    "huge": lambda x: x * 1e300,
    "denormal": lambda x: x * 1e-310,
    "zeros": torch.zeros_like,
    "numpy": lambda x: x.numpy(),
    "a list": lambda x: x.tolist(),
    "none": lambda x: None,
    "a text": lambda x: "x",
}


def with_entry(x: torch.Tensor, value: float) -> torch.Tensor:
    changed = x.to(torch.float64, copy=True)
    changed.flatten()[0] = value
    return changed


def net_with(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[MLP], object]:
    def changed(net: MLP) -> MLP:
        weights = tuple(change(w) for w in net.weights)
        biases = None if net.biases is None else tuple(change(b) for b in net.biases)
        return MLP(weights, biases, activation=net.activation)

    return changed


ODD_NETS: dict[str, Callable[[MLP], object]] = {
    "float32": net_with(lambda w: w.float()),
    "float16": net_with(lambda w: w.half()),
    "a nan": net_with(lambda w: with_entry(w, math.nan)),
    "huge": net_with(lambda w: w * 1e300),
    "a batch": lambda net: stack([net, net]),
    "an empty batch": lambda net: stack([net, net])[:0],
    "none": lambda net: None,
    "a module": lambda net: torch.nn.Linear(2, 1),
    "a tensor": lambda net: torch.ones(2, 2),
}


def odd(value: object) -> dict[str, object]:
    """Odd values in the place of one, by name."""
    if isinstance(value, torch.Tensor):
        return {k: lambda f=f: f(value) for k, f in {**ODD_TENSORS, **HARMLESS}.items()}
    if isinstance(value, MLP):
        return {k: lambda f=f: f(value) for k, f in ODD_NETS.items()}
    if isinstance(value, tuple | list):
        first = list(value)[1:], [*value, *value], [None, *value][: len(value)], 3, None
        return {f"sequence {i}": lambda v=v: v for i, v in enumerate(first)}
    return {f"{v!r}": lambda v=v: v for v in ODD_NUMBERS}


def cases(name: str) -> list[tuple[str, str]]:
    _, base = CALLS[name]
    return [(argument, kind) for argument, value in base.items() for kind in odd(value)]


def judge(name: str, argument: str, kind: str) -> str:
    """What is wrong with the answer to one odd argument, "" for nothing."""
    function, base = CALLS[name]
    try:
        value = odd(base[argument])[kind]()
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError):
        return ""  # there is no such value
    before = value.clone() if isinstance(value, torch.Tensor) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = function(**{**base, argument: value})
        except (TypeError, ValueError, ArithmeticError) as refusal:
            last = traceback.extract_tb(refusal.__traceback__)[-1]
            own = last.filename.startswith(f"{ROOT}/lib/") and (last.line or "").startswith("raise")
            # Python itself refuses what is no number or no sequence at all
            own = (
                own
                or isinstance(refusal, TypeError)
                and not isinstance(base[argument], torch.Tensor)
            )
            return "" if own else f"{type(refusal).__name__}: {refusal}"[:150]
        except Exception as fault:
            return f"{type(fault).__name__}: {fault}"[:150]
        if before is not None and not same(before, value):
            return "the argument was changed"
        if kind in HARMLESS and not same(found, function(**base)):
            return "another answer for the same values"
    return ""


def same(a: object, b: object) -> bool:
    """Whether two answers are equal, up to rounding."""
    if isinstance(a, torch.Tensor):
        return torch.allclose(a, b, rtol=1e-12, atol=1e-14, equal_nan=True)
    if isinstance(a, MLP):
        return same(flatten(a), flatten(b))
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=1e-12) or a != a
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return True


@pytest.mark.parametrize("name", CALLS)
def test_the_plain_call_answers(name) -> None:
    function, base = CALLS[name]
    assert function(**base) is not None


@pytest.mark.parametrize("name", CALLS)
@settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "8")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_an_odd_argument_is_answered_rightly_or_refused(name, data) -> None:
    argument, kind = data.draw(st.sampled_from(cases(name)))
    assert not judge(name, argument, kind)
