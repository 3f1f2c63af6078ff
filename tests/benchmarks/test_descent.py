"""The timing helper of the benchmarks, and that the torch rival of `descend` makes the same
steps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import deep, descent_gpu, timing
from benchmarks import descent as descent_benchmark
from benchmarks.descent import LR, data, flops, tanh_alone, torch_descent, torch_net
from benchmarks.vgg import products
from lib.nets import MLP, Chain, flatten, init
from lib.train.descent import descend


def test_a_row_pairs_the_times_of_a_round():
    times = {"ours": np.array([1.0, 2.0, 4.0]), "rival": np.array([3.0, 8.0, 20.0])}
    (row,) = timing.compare("work", times, "ours", {"rival": 3.5})
    assert (row.ours, row.rival, row.ratio, row.spread) == (2.0, 8.0, 4.0, (3.5, 4.5))
    assert row.rounds == ((1.0, 2.0, 4.0), (3.0, 8.0, 20.0))
    assert ">= 3.5 met" in timing.table([row])
    (row,) = timing.compare("work", times, "ours", {"rival": 5.0})
    assert ">= 5 MISSED" in timing.table([row])


def test_contenders_take_turns_and_are_scaled_to_the_whole_work():
    calls = []

    def wait(name: str, amount: int) -> None:
        calls.append(name)
        time.sleep(0.002 * amount)

    contenders = {
        "a": timing.Contender(lambda amount: wait("a", amount), 2),
        "b": timing.Contender(lambda amount: wait("b", amount), 1, share=0.1),
    }
    times = timing.interleave(contenders, 3)
    assert calls == ["a", "b", "b", "a"] * 2  # the first two calls are not timed
    # Sleeping lasts at least as long as asked for.
    assert times["a"].shape == (3,) and (times["a"] >= 0.002).all() and (times["b"] >= 0.02).all()


def test_products_of_a_net_are_those_that_no_padding_multiplies():
    net = Chain([torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Linear(12, 5)], [torch.nn.Flatten()])
    assert products(net, torch.randn(4, 2, 2, 2)) == [
        16 * 2 * 3,
        60,
    ]  # each of 4 pixels reads 4 pixels


def test_results_are_written_with_their_environment(tmp_path):
    row = timing.Row("work", "rival", 1.0, 2.0, 2.0, (1.9, 2.1), None, 7.0)
    path = timing.write(tmp_path / "new", "name", [row], {"fact": 1.5}, threads=2, rounds=3)
    content = json.loads(path.read_text())
    expected = dict(
        name="work",
        rival_name="rival",
        ours=1.0,
        rival=2.0,
        ratio=2.0,
        spread=[1.9, 2.1],
        target=None,
    )
    assert content["rows"] == [expected | {"operations": 7.0, "rounds": [[], []]}]
    assert content["environment"]["multiply-adds a second"] > 1e8
    assert content["facts"] == {"fact": 1.5}
    assert {"cpu", "cores", "threads", "rounds", "numba", "torch", "load"} <= set(
        content["environment"]
    )
    assert timing.listing({"a": 0.123456, "b": "c"}) == "a: 0.1235\nb: c"


@pytest.mark.parametrize(
    ("t", "text"), [(2.0, "2 s"), (0.0345, "34.5 ms"), (1.24e-5, "12.4 us"), (5e-10, "0.5 ns")]
)
def test_times_in_words(t, text):
    assert timing.seconds(t) == text


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_rival_in_torch_makes_our_steps(by_hand):
    x, y = data()
    torch.manual_seed(0)
    net = torch_net(3)
    w, b, a = (p.detach().clone() for p in net.parameters())
    torch_descent(net, x, y, by_hand)(40)
    ours = descend(MLP((w, a), (b, None)), x, y, steps=40, lr=LR).net
    for mine, its in zip(ours.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(
            mine, its.detach(), rtol=0, atol=1e-13
        )  # 40 steps of a few roundings


def test_the_batched_rival_makes_our_steps():
    x, y = data()
    net = init(
        (1, 3, 1),
        std=0.2,
        batch=(4,),
        output_bias=False,
        generator=torch.Generator().manual_seed(0),
    )
    step, (w, b, a) = descent_gpu.batched(net, x, y)
    for _ in range(40):
        step()
    ours = descend(net, x, y, steps=40, lr=LR).net
    for mine, its in zip(ours.parameters(), (w, b.squeeze(-1), a), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-13)  # 40 steps of a few roundings


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_without_a_gpu_it_says_what_is_missing_and_is_no_failure():
    with pytest.raises(
        timing.Unavailable,
        match=r"no CUDA device .*CUDA-graphed torch \(target 10\).*CPU kernel \(target 20\)",
    ):
        descent_gpu.needed()
    command = [sys.executable, "-m", "benchmarks", "descent_gpu", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0 and "descent_gpu is left out: no CUDA device" in done.stdout


def test_an_unknown_benchmark_is_named_with_those_there_are():
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (
        done.returncode == 2
        and "unknown benchmark speed: expected" in done.stderr
        and "hessian" in done.stderr
    )


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux' /proc"
)
def test_the_peak_of_a_call_is_that_of_its_arrays():
    found = timing.peak_mib("import numpy as np", "np.ones(4_000_000).sum()")
    assert 30 < found < 33  # 4e6 float64 are 30.5 MiB


def test_operations_are_counted_from_the_formulas():
    # sigma 20, its way back 2; forward 2 + 2, back: r t, and sums for a, b, w: 1 + 1 + 1 + 2
    assert flops("tanh", 1, 1) == 20 + 2 + 4 + 5


def test_the_limit_is_measured_on_every_thread(monkeypatch):
    real, seen = descent_benchmark.tanh_over, {}

    def noted(z, out, *rest):
        real(z, out, *rest)
        seen[id(out)] = rest[-1], np.abs(out - np.tanh(z)).max()

    monkeypatch.setattr(descent_benchmark, "tanh_over", noted)
    tanh_alone(2)(3)
    assert len(seen) == 2  # each thread has numbers of its own
    assert all(amount == 3 and gap < 1e-15 for amount, gap in seen.values())


def test_the_deep_benchmark_compares_like_with_like():
    """The torch rival of `benchmarks.deep` makes the same steps as `descend`, for every depth it
    times."""
    for hidden in deep.HIDDEN:
        net, x, y = deep.problem(hidden)
        mine = descend(net[1], x, y, steps=30, lr=deep.LR, optimizer="adam").net
        theirs = deep.one_after_the_other(net[1], x, y, False)(30)
        assert (flatten(mine) - theirs).abs().max() < 1e-12
