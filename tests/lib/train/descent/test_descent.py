"""`descend`: the CPU kernel against the torch reference, and that against a loop in NumPy and
torch's optimizers."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lib.train.descent.front as front
from lib._simd.compiled import cached
from lib._simd.pointwise import KINDS
from lib.nets import MLP, Activation, cross_entropy, flatten, gradient, init, risk, stack
from lib.nets.activations import NAMES, elu, leaky_relu
from lib.train.descent import Diverged, Trajectory, descend, record_steps
from lib.train.descent.numba_kernel import kernel

# d, m, k, n, batch, hidden bias, output bias: odd shapes, both arrangements of the lanes, one and
# several tiles, and more than one block of inputs.
SHAPES = [
    (1, 3, 1, 50, (5,), True, False),
    (1, 9, 1, 7, (1,), True, True),
    (1, 1, 1, 1, (), False, False),
    (1, 2, 1, 300, (9,), True, True),
    (1, 40, 1, 70, (), False, True),
    (2, 9, 3, 7, (), True, True),
    (5, 1, 2, 1, (2,), False, False),
    (3, 2, 1, 20, (2, 5), True, True),
    (9, 4, 2, 300, (3,), False, True),
    (4, 20, 3, 40, (2,), True, False),
]


def problem(d, m, k, n, batch, bias, output_bias, activation="tanh", seed=0):  # noqa: PLR0913
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, dtype=torch.float64, generator=g)
    y = torch.randn(n, k, dtype=torch.float64, generator=g)
    net = init(
        (d, m, k), activation, std=0.5, batch=batch, generator=g
    )  # init refuses an output bias alone
    biases = [net.biases[0] if bias else None, net.biases[1] if output_bias else None]
    return MLP(net.weights, biases, net.activation), x, y


def gap(a: Trajectory, b: Trajectory) -> float:
    """The largest difference anywhere in two trajectories."""
    pairs = [
        (flatten(a.net), flatten(b.net)),
        (a.losses, b.losses),
        (a.smallest_gradient, b.smallest_gradient),
    ]
    pairs += [(flatten(a.smallest), flatten(b.smallest)), (a.smallest_loss, b.smallest_loss)]
    assert torch.equal(a.steps, b.steps)
    return max((p - q).abs().max().item() for p, q in pairs)


def identical(a: Trajectory, b: Trajectory) -> bool:
    one, other = a.arrays(), b.arrays()
    same = (np.array_equal(one[k], other[k], equal_nan=one[k].dtype.kind == "f") for k in one)
    return one.keys() == other.keys() and all(same)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
@pytest.mark.parametrize("activation", NAMES)
def test_the_kernel_follows_the_reference_for_1000_steps(activation, optimizer):
    # Two shapes of each kernel (one input and output, or more) for every activation; together all
    # shapes.
    turn = 2 * NAMES.index(activation) + (optimizer == "adam")
    # At 0.01 Adam is chaotic on the wider nets: a start moved by one rounding ends 0.02 away,
    # whatever the backend.
    rate = {"gd": 0.01, "adam": 0.003}[optimizer]
    for shape in (SHAPES[turn % 5], SHAPES[5 + turn % 5]):
        net, x, y = problem(*shape, activation, seed=turn)
        runs = [
            descend(
                net, x, y, steps=1000, lr=rate, optimizer=optimizer, records=12, backend=backend
            )
            for backend in ("numba", "torch")
        ]
        assert gap(*runs) < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_takes_every_shape(shape):
    net, x, y = problem(*shape)
    a, b = (
        descend(net, x, y, steps=30, lr=0.02, records=5, backend=backend)
        for backend in ("numba", "torch")
    )
    assert gap(a, b) < 1e-13  # a rounding or two a step
    assert a.net.batch == net.batch and tuple(a.losses.shape) == (len(a.steps), *net.batch)
    assert tuple(a.smallest.batch) == tuple(a.smallest_step.shape) == (len(a.steps) - 1, *net.batch)


@pytest.mark.parametrize("activation", [leaky_relu(0.3), elu(0.5)])
def test_the_parameter_of_the_activation_reaches_the_kernel(activation):
    net, x, y = problem(*SHAPES[0], activation)
    a, b = (
        descend(net, x, y, steps=100, lr=0.01, backend=backend) for backend in ("numba", "torch")
    )
    assert gap(a, b) < 1e-12


def test_wide_pre_activations_take_the_clamped_path():
    net, x, y = problem(1, 3, 1, 20, (3,), True, True)
    net = net.map(lambda p: p * 400)  # |w x| far beyond the range that needs no clamp
    a, b = (
        descend(net, x, y, steps=50, lr=1e-3, backend=backend) for backend in ("numba", "torch")
    )
    assert gap(a, b) < 1e-9 * 400


def numpy_descent(net: MLP, x, y, steps, lr, adam):
    """tanh nets d-m-k without batch, by the formulas on paper."""
    (w, a), (b, c) = ([p.numpy().copy() for p in ps] for ps in (net.weights, net.biases))
    x, y = x.numpy(), y.numpy()
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in (w, b, a, c)]
    losses = []
    for t in range(steps + 1):
        hidden = np.tanh(x @ w.T + b)
        r = hidden @ a.T + c - y
        losses.append((r**2).mean())
        e = 2 * r / r.size
        h = (e @ a) * (1 - hidden**2)
        for i, (p, g) in enumerate(
            zip((w, b, a, c), (h.T @ x, h.sum(0), e.T @ hidden, e.sum(0)), strict=True)
        ):
            if t == steps:
                break
            if not adam:
                p -= lr * g
                continue
            first, second = moments[i] = (
                0.9 * moments[i][0] + 0.1 * g,
                0.999 * moments[i][1] + 0.001 * g * g,
            )
            p -= (
                lr
                * (first / (1 - 0.9 ** (t + 1)))
                / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
            )
    return [w, b, a, c], losses


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_against_a_loop_in_numpy(optimizer, backend):
    net, x, y = problem(2, 4, 2, 15, (), True, True)
    run = descend(
        net, x, y, steps=200, lr=0.02, optimizer=optimizer, records=range(201), backend=backend
    )
    parameters, losses = numpy_descent(net, x, y, 200, 0.02, optimizer == "adam")
    for found, exact in zip(run.net.parameters(), parameters, strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)  # 200 steps of a few roundings
    np.testing.assert_allclose(run.losses, losses, rtol=1e-12)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_against_the_optimizers_of_torch(optimizer, backend):
    net, x, y = problem(3, 5, 1, 12, (), True, True)
    run = descend(
        net,
        x,
        y,
        steps=100,
        lr=0.03,
        optimizer=optimizer,
        betas=(0.8, 0.95),
        eps=1e-6,
        backend=backend,
    )
    leaves = [p.clone().requires_grad_() for p in net.parameters()]
    if optimizer == "gd":
        rival = torch.optim.SGD(leaves, lr=0.03)
    else:
        rival = torch.optim.Adam(leaves, lr=0.03, betas=(0.8, 0.95), eps=1e-6)
    for _ in range(100):
        rival.zero_grad()
        w, b, a, c = leaves
        torch.nn.functional.mse_loss(torch.tanh(x @ w.mT + b) @ a.mT + c, y).backward()
        rival.step()
    for found, exact in zip(run.net.parameters(), leaves, strict=True):
        torch.testing.assert_close(found, exact.detach(), rtol=0, atol=1e-12)


def test_the_reference_takes_any_depth_and_loss():
    g = torch.Generator().manual_seed(3)
    net = init((4, 5, 3, 3), "sigmoid", batch=(2,), generator=g)
    x, y = (
        torch.randn(10, 4, dtype=torch.float64, generator=g),
        torch.randint(0, 3, (10,), generator=g),
    )
    run = descend(net, x, y, steps=50, lr=0.1, loss=cross_entropy, backend="torch")
    leaves = net
    for _ in range(50):
        slope = gradient(leaves, x, y, cross_entropy)
        leaves = MLP(
            [w - 0.1 * s for w, s in zip(leaves.weights, slope.weights, strict=True)],
            [b - 0.1 * s for b, s in zip(leaves.biases, slope.biases, strict=True)],
            "sigmoid",
        )
    torch.testing.assert_close(flatten(run.net), flatten(leaves), rtol=0, atol=1e-13)
    assert (run.losses[-1] < run.losses[0]).all()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_smallest_gradient_iterates_are_the_smallest_of_their_interval(backend):
    net, x, y = problem(2, 3, 1, 20, (3,), True, True)
    every = descend(net, x, y, steps=60, lr=0.2, records=range(61), backend=backend)
    run = descend(net, x, y, steps=60, lr=0.2, records=[7, 20], backend=backend)
    assert run.steps.tolist() == [0, 7, 20, 60]
    for i, (start, end) in enumerate(itertools.pairwise(run.steps.tolist())):
        norms = every.smallest_gradient[start:end]
        best, where = norms.min(0)
        assert torch.equal(run.smallest_gradient[i], best)
        assert torch.equal(run.smallest_step[i], where + start)
        picked = flatten(every.smallest)[where + start, torch.arange(3)]
        assert torch.equal(flatten(run.smallest)[i], picked)
        assert torch.equal(run.smallest_loss[i], every.losses[where + start, torch.arange(3)])
        # And it is what it says: the gradient L1 norm and the loss at that iterate.
        slope = flatten(gradient(run.smallest[i], x, y)).abs().sum(-1)
        torch.testing.assert_close(run.smallest_gradient[i], slope, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            run.smallest_loss[i], risk(run.smallest[i], x, y), rtol=1e-12, atol=1e-14
        )


def test_the_norm_counts_an_output_bias_once_when_neurons_lie_in_lanes():
    net, x, y = problem(1, 40, 1, 10, (), True, True)
    run = descend(net, x, y, steps=1, lr=0.1, backend="numba")
    torch.testing.assert_close(
        run.smallest_gradient[0], flatten(gradient(net, x, y)).abs().sum(), rtol=1e-13, atol=0
    )


@given(st.data())
@settings(max_examples=12, deadline=None, derandomize=True)
def test_nets_of_a_batch_do_not_interact(data):
    count = data.draw(st.integers(2, 11))
    m, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 20))
    net, x, y = problem(1, m, 1, n, (count,), True, False, seed=count)
    pick = data.draw(st.integers(0, count - 1))
    together = descend(net, x, y, steps=40, lr=0.05, records=6, backend="numba")
    alone = descend(stack([net[pick]] * count), x, y, steps=40, lr=0.05, records=6, backend="numba")
    assert torch.equal(flatten(alone.net)[0], flatten(together.net)[pick])
    assert torch.equal(alone.losses[:, 0], together.losses[:, pick])


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[9]])
def test_threads_and_chunks_change_no_bit(shape, monkeypatch):
    net, x, y = problem(*shape)
    one = descend(net, x, y, steps=150, lr=0.05, optimizer="adam", threads=1)
    two = descend(net, x, y, steps=150, lr=0.05, optimizer="adam", threads=2)
    monkeypatch.setattr(front, "CHUNK_SECONDS", 0)  # chunks of one step
    steps = descend(net, x, y, steps=150, lr=0.05, optimizer="adam", threads=1)
    assert identical(one, two) and identical(one, steps)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_an_interrupted_run_resumes_to_the_same_bits(optimizer, backend, monkeypatch, tmp_path):
    net, x, y = problem(2, 3, 2, 9, (4,), True, True)
    settings = dict(steps=400, lr=0.05, optimizer=optimizer, records=15, backend=backend, threads=1)
    whole = descend(net, x, y, **settings)
    calls, perform = itertools.count(), front._perform

    def interrupted(tasks, pool):
        assert (pool is None) == (backend == "numba")  # Python code is never cut by Ctrl-C
        if next(calls) == 4:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C while the chunk is being computed
        perform(tasks, pool)

    monkeypatch.setattr(front, "_perform", interrupted)
    part = descend(net, x, y, **settings)
    assert part.interrupted and 0 < part.steps_done < 400 and part.steps[-1] <= part.steps_done
    assert torch.equal(part.losses, whole.losses[: len(part.steps)])
    np.savez(tmp_path / "part.npz", **part.arrays())
    with np.load(tmp_path / "part.npz") as saved:
        part = Trajectory.from_arrays(saved)
    rest = descend(net, x, y, **settings, resume=part)
    assert not rest.interrupted and identical(rest, whole)


def test_resuming_a_finished_run_extends_it():
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    first = descend(net, x, y, steps=100, lr=0.05, records=[50])
    longer = descend(net, x, y, steps=300, lr=0.05, records=[50, 100, 200], resume=first)
    whole = descend(net, x, y, steps=300, lr=0.05, records=[50, 100, 200])
    assert identical(longer, whole)
    assert identical(descend(net, x, y, steps=100, lr=0.05, records=[50], resume=first), first)


def test_backends_can_take_over_from_each_other():
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    settings = dict(lr=0.05, optimizer="adam", records=[30, 60])
    part = descend(net, x, y, steps=60, backend="torch", **settings)
    rest = descend(net, x, y, steps=120, backend="numba", resume=part, **settings)
    whole = descend(
        net, x, y, steps=120, backend="numba", lr=0.05, optimizer="adam", records=[30, 60]
    )
    assert gap(rest, whole) < 1e-12


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_divergence_is_an_error_that_names_the_nets(backend):
    net, x, y = problem(1, 3, 1, 9, (4,), True, True, "relu")
    scale = torch.tensor([1.0, 1.0, 30.0, 1.0], dtype=torch.float64)
    net = net.map(lambda p: p * scale.reshape(4, *[1] * (p.dim() - 1)))
    settings = dict(steps=200, lr=0.1, records=8, backend=backend)
    with pytest.raises(
        Diverged, match=r"1 of 4 nets diverged: net 2 at step \d+; take a smaller lr than 0.1"
    ) as error:
        descend(net, x, y, **settings)
    run = error.value.trajectory
    masked = descend(net, x, y, on_divergence="mask", **settings)
    assert identical(run, masked)
    assert (run.diverged_at >= 0).tolist() == [False, False, True, False]
    assert run.losses[-1].isinf().tolist() == [False, False, True, False]
    assert run.smallest_gradient[-1, 2].isinf() and run.losses[0, 2].isfinite()
    others = [0, 1, 3]
    alone = descend(net[others], x, y, **settings)
    torch.testing.assert_close(run.losses[:, others], alone.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(flatten(run.net)[others], flatten(alone.net), rtol=1e-12, atol=1e-13)


def test_both_backends_see_the_same_divergence():
    net, x, y = problem(1, 3, 1, 9, (12,), True, True)
    settings = dict(steps=80, lr=9.0, records=8, on_divergence="mask")
    runs = [descend(net, x, y, backend=backend, **settings) for backend in ("numba", "torch")]
    assert (runs[0].diverged_at >= 0).any()
    assert torch.equal(runs[0].diverged_at, runs[1].diverged_at)


def test_divergence_of_one_net_and_of_a_start_that_overflows():
    net, x, y = problem(1, 3, 1, 9, (), True, True)
    with pytest.raises(Diverged, match="1 of 1 nets diverged: at step"):
        descend(net, x, y, steps=500, lr=1e3)
    with pytest.raises(Diverged, match="at step 0"):
        descend(net.map(lambda p: p * 1e200), x, y, steps=5, lr=1e-3)
    assert issubclass(Diverged, ArithmeticError)
    grid = stack([net, net, net, net]).map(lambda p: (p * 1e200).reshape(2, 2, *p.shape[1:]))
    with pytest.raises(
        Diverged, match=r"4 of 4 nets diverged: net \(0, 0\) at step 0, net \(0, 1\)"
    ):
        descend(grid, x, y, steps=5, lr=1e-3)
    many = stack([net] * 7).map(lambda p: p * 1e200)
    with pytest.raises(Diverged, match="net 4 at step 0, and 2 more;"):
        descend(many, x, y, steps=5, lr=1e-3)


def test_no_steps_give_the_loss_alone():
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    run = descend(net, x, y, steps=0, lr=0.1)
    assert (
        run.steps.tolist() == [0]
        and run.smallest.batch == (0, 4)
        and torch.equal(flatten(run.net), flatten(net))
    )
    torch.testing.assert_close(run.losses[0], risk(net, x, y), rtol=1e-14, atol=0)


def test_iterates_need_not_be_kept():
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    run = descend(net, x, y, steps=50, lr=0.1, keep_smallest=False)
    kept = descend(net, x, y, steps=50, lr=0.1)
    assert run.smallest is None and torch.equal(run.smallest_gradient, kept.smallest_gradient)
    assert "smallest" not in run.arrays() and identical(Trajectory.from_arrays(run.arrays()), run)
    half = descend(net, x, y, steps=20, lr=0.1, keep_smallest=False)
    assert descend(net, x, y, steps=50, lr=0.1, keep_smallest=False, resume=half).steps_done == 50


def test_the_bar_shows_the_steps(capsys):
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    descend(net, x, y, steps=30, lr=0.1, progress=True)
    assert "30/30" in capsys.readouterr().err
    descend(net, x, y, steps=30, lr=0.1)
    assert capsys.readouterr().err == ""


def test_every_kernel_has_its_own_name_in_the_disk_cache():
    names = {
        kernel(kind, scalar).py_func.__qualname__
        for kind in KINDS.values()
        for scalar in (False, True)
    }
    assert len(names) == 2 * len(KINDS)


def test_a_kernel_has_another_name_in_the_disk_cache_when_a_module_it_is_built_from_has_changed(
    tmp_path, monkeypatch
):
    part = tmp_path / "part.py"
    monkeypatch.syspath_prepend(tmp_path)
    names = []
    for source in ("one = 1", "one = 1", "one = 2"):
        part.write_text(source)

        def run(x):
            return x

        names.append(cached("part")(run).py_func.__qualname__)
    assert names[0] == names[1] != names[2]


def test_gradients_of_the_input_net_are_not_tracked():
    net, x, y = problem(1, 3, 1, 9, (4,), True, True)
    tracked = net.map(lambda p: p.clone().requires_grad_())
    for backend in ("numba", "torch"):
        run = descend(tracked, x, y, steps=5, lr=0.1, backend=backend)
        assert not any(p.requires_grad for p in run.net.parameters())


def test_auto_falls_back_to_torch_and_numba_says_why_not():
    net, x, y = problem(1, 3, 1, 9, (), True, True, leaky_relu(-0.5))
    assert front._choose("auto", net, front.mse) is front.TorchEngine
    with pytest.raises(ValueError, match="numba backend takes only .*positive parameter"):
        descend(net, x, y, steps=5, lr=0.1, backend="numba")
    strange = Activation("sine", torch.sin, torch.cos, lambda t: -torch.sin(t))
    net, x, y = problem(1, 3, 1, 9, (), True, True, strange)
    run = descend(net, x, y, steps=50, lr=0.1)
    assert run.losses[-1] < run.losses[0]


def good():
    net, x, y = problem(2, 3, 1, 9, (4,), True, True)
    return dict(net=net, x=x, y=y, steps=5, lr=0.1)


BAD = [
    (dict(lr=0), "lr is 0: expected a finite number > 0"),
    (dict(lr=-1.0), "lr is -1.0"),
    (dict(lr=float("nan")), "lr is nan"),
    (dict(lr="fast"), "lr is 'fast'"),
    (dict(steps=-1), "steps is -1: expected a whole number >= 0"),
    (dict(steps=2.5), "steps is 2.5"),
    (dict(optimizer="sgd"), 'optimizer is \'sgd\': expected "gd" or "adam"'),
    (dict(betas=(0.9, 1.0)), "betas are"),
    (dict(eps=0.0), "eps is 0.0"),
    (dict(backend="jax"), "backend is 'jax'"),
    (dict(on_divergence="ignore"), "on_divergence is 'ignore'"),
    (dict(threads=0), "threads is 0"),
    (dict(records=1), "records is 1: expected at least 2"),
    (
        dict(records=[3, 9]),
        r"records are \[3, 9\]: expected a number, or integer steps within 0..5",
    ),
    (dict(records=[0.5]), "integer steps"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_settings_are_named(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        descend(**good() | change)


def test_bad_data_are_named():
    net, x, y = (good()[name] for name in ("net", "x", "y"))
    hole = x.clone()
    hole[3, 1] = torch.nan
    cases = [
        (dict(x=x.numpy()), TypeError, "x is ndarray: expected a tensor"),
        (dict(x=x.float()), TypeError, "x is torch.float32: expected torch.float64"),
        (dict(y=y.float()), TypeError, "y is torch.float32"),
        (dict(net=net.to(torch.float32)), TypeError, "the net is torch.float32"),
        (dict(net=torch.nn.Linear(2, 1)), TypeError, "net is Linear: expected an MLP"),
        (dict(x=hole), ValueError, "x: 1 of 18 numbers are NaN or infinite"),
        (dict(y=y * torch.inf), ValueError, "y: 9 of 9 numbers are NaN or infinite"),
        (
            dict(net=net.map(lambda p: p / 0)),
            ValueError,
            "the weight of layer 1: ",
        ),
        (dict(x=x[:, :1]), ValueError, r"x has shape \(9, 1\): expected \(n, 2\)"),
        (dict(x=x[:, 0]), ValueError, r"x has shape \(9,\): expected \(n, 2\)"),
        (dict(y=y[:4]), ValueError, r"y has shape \(4, 1\): expected \(9, 1\)"),
        (dict(y=y.expand(9, 2)), ValueError, r"y has shape \(9, 2\): expected \(9, 1\)"),
        (dict(x=x[:0], y=y[:0]), ValueError, "the sample is empty"),
        (dict(net=net[:0]), ValueError, r"the batch \(0,\) holds no net"),
        (
            dict(steps=10**9, records=10**6, net=stack([net] * 300)),
            ValueError,
            r"needs \d+.\d GiB: take fewer records",
        ),
    ]
    for change, kind, message in cases:
        with pytest.raises(kind, match=message):
            descend(**good() | change)


def test_what_cannot_be_resumed_is_refused():
    case = good()
    past = descend(**case)
    with pytest.raises(ValueError, match="resume was made by gd, this is adam"):
        descend(**case | dict(optimizer="adam"), resume=past)
    with pytest.raises(ValueError, match="resume has made 5 steps: expected steps >= that, got 3"):
        descend(**case | dict(steps=3), resume=past)
    with pytest.raises(ValueError, match="resume holds MLP"):
        descend(**case | dict(net=case["net"][:2]), resume=past)
    with pytest.raises(ValueError, match="keep_smallest is False"):
        descend(**case, keep_smallest=False, resume=past)
    with pytest.raises(ValueError, match="arrays lack net"):
        Trajectory.from_arrays({k: v for k, v in past.arrays().items() if k != "net"})


@given(steps=st.integers(0, 10**7), records=st.integers(2, 400))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_records_begin_at_0_end_at_the_last_step_and_grow(steps, records):
    plan = record_steps(steps, records)
    assert plan[0] == 0 and plan[-1] == steps and np.all(np.diff(plan) > 0) and len(plan) <= records


def test_an_unbatched_trajectory_prints_itself():
    case = good()
    run = descend(**case | dict(net=case["net"][0]))
    assert repr(run) == "Trajectory(MLP(2-3-1, tanh, 13 parameters), gd, 5 steps, 6 records)"
    assert run.losses.shape == (len(run.steps),)


@pytest.mark.parametrize("widths", [(1, 1, 1), (1, 1, 1, 1)])
def test_moments_of_a_dead_neuron_end_at_zero(widths):
    """0.9^7500 is below the normal numbers: without a floor the first moment would stay at the
    smallest subnormal one."""
    net = init(widths, "relu", output_bias=False, generator=0).map(torch.ones_like)
    x, y = torch.ones(1, 1, dtype=torch.float64), -torch.ones(1, 1, dtype=torch.float64)
    run = descend(
        net, x, y, steps=7500, lr=3.0, optimizer="adam", backend="numba"
    )  # the first step kills every neuron
    reference = descend(net, x, y, steps=7500, lr=3.0, optimizer="adam", backend="torch")
    first, second = run.state.moments
    assert float(first.weights[0]) == 0.0 < float(second.weights[0])
    assert 0 < abs(float(reference.state.moments[0].weights[0])) < 1e-307
    torch.testing.assert_close(flatten(run.net), flatten(reference.net), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_kernels_cached_by_different_processes_keep_their_activations(tmp_path):
    """Each kernel is compiled in a process of its own, so that Numba counts its functions alike; a
    third loads both."""
    script = """
import sys, torch
from lib.train.descent import descend
from lib.nets import flatten, init
x = torch.linspace(-2, 2, 20, dtype=torch.float64)[:, None]
for sigma in sys.argv[1:]:
    net = init((1, 3, 1), sigma, batch=(4,), generator=0)
    ends = [descend(net, x, x.sin(), steps=50, lr=0.01, backend=b).net for b in ("numba", "torch")]
    gap = (flatten(ends[0]) - flatten(ends[1])).abs().max().item()
    assert gap < 1e-12, f"{sigma}: {gap}"  # 50 steps of a few roundings
"""
    for names in (["tanh"], ["relu"], ["tanh", "relu"]):
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[4]),
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *names], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
