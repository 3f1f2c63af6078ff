"""The GPU kernel against the torch reference over whole trajectories: on a GPU, or on the CPU in
Triton's interpreter.

Without a GPU it is compiled to machine code for one as well, which the interpreter does not show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from triton_runs import CASES, DEVICE, SHAPES, problem, wide

import lib.train.descent.checks as checks
from lib.nets import cross_entropy, flatten, init, mse
from lib.train.descent import Trajectory, descend
from lib.train.descent.gpu import MAX_PADDED, obstacles, tile

HERE = Path(__file__).parents[3]  # triton_runs.py lies at the top of tests/
pytest.importorskip("triton", reason="Triton exists on Linux only")
pytestmark = pytest.mark.xdist_group("triton")  # one process runs all cases once


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Case -> trajectory, from a process of its own."""
    folder = tmp_path_factory.mktemp("triton")
    settings = {
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        "OMP_NUM_THREADS": "1",
    }
    settings |= {"TRITON_INTERPRET": "1"} if DEVICE == "cpu" else {}
    command = [
        sys.executable,
        "-W",
        "error",
        str(HERE / "triton_runs.py"),
        str(folder / "runs.npz"),
    ]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arrays: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "runs.npz") as file:
        for key in file.files:
            name, part = key.split("/")
            arrays.setdefault(name, {})[part] = file[key]
    return {name: Trajectory.from_arrays(parts) for name, parts in arrays.items()}


@cache
def reference(name: str) -> Trajectory:
    return CASES[name]("torch")


def gap(a: Trajectory, b: Trajectory) -> float:
    """The largest difference anywhere in two trajectories, the state included."""
    assert torch.equal(a.steps, b.steps) and torch.equal(a.diverged_at, b.diverged_at)
    pairs = [
        (flatten(a.net), flatten(b.net)),
        (a.smallest_gradient, b.smallest_gradient),
        (a.smallest_loss, b.smallest_loss),
    ]
    pairs += [
        (a.losses, b.losses),
        (a.state.gradient, b.state.gradient),
        (a.state.loss, b.state.loss),
    ]
    if a.smallest is not None:
        pairs += [
            (flatten(a.smallest), flatten(b.smallest)),
            (flatten(a.state.net), flatten(b.state.net)),
        ]
    if a.state.moments is not None:
        pairs += [
            (flatten(p), flatten(q)) for p, q in zip(a.state.moments, b.state.moments, strict=True)
        ]
    return max((p - q).abs().max().item() for p, q in pairs)


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("followed")])
def test_it_follows_the_reference(name, found):
    single = name.endswith("float32")
    # One rounding a step, amplified by Adam where a gradient is near zero; float32 rounds 5e8 times
    # as coarsely.
    assert gap(found[name], reference(name)) < (2e-3 if single else 1e-11)
    assert found[name].net.dtype == (torch.float32 if single else torch.float64)


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith(("shape", "parameter"))])
def test_it_takes_every_shape_and_parameter(name, found):
    assert gap(found[name], reference(name)) < 1e-13


def test_pre_activations_beyond_the_clamp(found):
    assert gap(found["wide"], wide("torch")) < 1e-11 * 400


def test_a_diverging_net_is_frozen_and_masked(found):
    run, exact = found["diverging"], reference("diverging")
    assert (run.diverged_at >= 0).sum() == 1 and torch.equal(run.diverged_at, exact.diverged_at)
    assert torch.equal(torch.isinf(run.losses), torch.isinf(exact.losses))
    fine = run.diverged_at < 0
    torch.testing.assert_close(flatten(run.net)[fine], flatten(exact.net)[fine], rtol=0, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_resumed_run_repeats_an_uninterrupted_one_bit_for_bit(optimizer, found):
    one, other = found[f"resumed {optimizer}"].arrays(), found[f"whole {optimizer}"].arrays()
    assert one.keys() == other.keys()
    assert [
        k for k in one if not np.array_equal(one[k], other[k], equal_nan=one[k].dtype.kind == "f")
    ] == []


def test_without_the_iterates_their_numbers_are_there(found):
    run, exact = found["unkept"], reference("unkept")
    assert (
        run.smallest is None
        and gap(run, exact) < 1e-13
        and torch.equal(run.smallest_step, exact.smallest_step)
    )


@pytest.mark.parametrize("single", [False, True])
def test_it_compiles_for_an_h100_and_stays_in_registers(single, tmp_path):
    code = f"""
import subprocess
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lib.train.descent import gpu, gpu_kernel
shape, single = gpu.tile(3, 1, 1, 50), {single}
real, kinds = "*fp32" if single else "*fp64", dict.fromkeys(gpu_kernel.run.arg_names, "i32")
for name in "theta best first second limit best_gradient best_loss losses smallest smallest_gradient smallest_loss schedule rule x y".split():
    kinds[name] = real
kinds |= dict.fromkeys(["died", "best_step", "smallest_step", "records"], "*i64")
fixed = dict(KIND=0, ADAM=False, KEEP=True, M=shape.M, D=shape.D, K=shape.K, T=shape.T, B=shape.B, B1=True, B2=False)
kinds |= dict.fromkeys(fixed, "constexpr")
source = ASTSource(fn=gpu_kernel.run, signature=kinds, constexprs=fixed)
done = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(num_warps=shape.warps))
print(done.asm["ttgir"].count("convert_layout"), done.metadata.shared, done.asm["ptx"].count("ld.local"))
"""  # noqa: E501
    settings = {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HERE.parent)}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | settings
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # No exchange between threads but the sums of a step, no shared memory, and nothing kept outside
    # the registers.
    assert done.stdout.split() == ["0", "0", "0"]


def test_the_import_of_the_library_does_not_import_triton():
    code = (
        "import sys, lib.train.descent; lib.train.descent.descend; print('triton' in sys.modules or"
        " 'lib.train.descent.gpu_kernel' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False", done.stderr


def test_what_it_cannot_take_is_named(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    net, x, y = problem(*SHAPES[0])
    with pytest.raises(
        ValueError, match=r'tensors on a CUDA device \(these are on cpu\): use backend="auto"'
    ):
        descend(net, x, y, steps=1, lr=0.1, backend="triton")
    assert obstacles(init((1, 2, 2, 1), generator=0), mse)[0] == "nets of depth 2 (this is 3)"
    assert "the loss lib.nets.losses.mse" in obstacles(net, cross_entropy)
    assert any(
        f"up to {MAX_PADDED} parameters" in o
        for o in obstacles(init((1, 9000, 1), generator=0), mse)
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert any("machines with Triton" in o for o in obstacles(net, mse))


def test_float32_is_asked_for_by_name():
    net, x, y = problem(*SHAPES[0], dtype=torch.float32)
    for backend in ("auto", "numba"):
        with pytest.raises(
            TypeError,
            match=r'torch.float32 needs backend="triton" or "torch"|expected torch.float64',
        ):
            descend(net, x, y, steps=1, lr=0.1, backend=backend)
    assert descend(net, x, y, steps=1, lr=0.1, backend="torch").losses.dtype == torch.float32
    with pytest.raises(TypeError, match="x is torch.float64: expected torch.float32"):
        descend(net, x.double(), y, steps=1, lr=0.1, backend="torch")


def test_every_tile_holds_the_problem():
    for m, d, k, n in [
        (1, 1, 1, 1),
        (3, 1, 1, 50),
        (500, 1, 1, 50),
        (9, 9, 2, 300),
        (2, 4, 3, 150),
    ]:
        t = tile(m, d, k, n)
        assert m <= t.M < 2 * m and d <= t.D < 2 * d and k <= t.K < 2 * k
        assert all(s & (s - 1) == 0 for s in (t.M, t.D, t.K, t.T, t.B, t.warps))


def test_a_run_beyond_memory_is_refused_with_the_size_it_needs(monkeypatch):
    net, x, y = problem(*SHAPES[0])
    monkeypatch.setattr(checks, "MAX_BYTES", 1000)
    with pytest.raises(
        ValueError, match=r"training 5 nets of 9 parameters with 8 records needs 0.0 GiB"
    ):
        descend(net, x, y, steps=10**6, lr=0.1, records=8)
