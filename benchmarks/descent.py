"""Full-batch gradient descent of two-layer tanh nets on 50 samples, float64: against JAX and
PyTorch, and its limit.

    python -m benchmarks descent          (JAX comes with `uv pip install -e .[bench]`)

The limit is the time that the tanh evaluations of a step take alone, at the rate at which our tanh
runs over arrays in the first-level caches. Our runs record and keep what `descend` does by default;
the rivals only step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

import numpy as np
import torch
from numba import njit

from benchmarks.timing import Contender, Row, Unavailable, compare, interleave, peak_mib
from lib._simd.lanes import aligned, load, splat, store
from lib._simd.pointwise import TANH, constants, in_lanes, two_values, unit
from lib.nets import MLP, flatten, init
from lib.train.descent import descend

NUMBERS = 1024  # of which tanh is taken at a time, to measure its limit: 8 KiB in, 8 KiB out
LR = 0.005  # and variance 1 / m^3: the one-dimensional experiments of Zhang et al. 2021

# nets, width, steps a timing of ours, of JAX; the ratios to JAX and to one net at a time in torch
# to reach
PROBLEMS = [
    (200, 3, 10_000, 1_000, 8.0, 1000.0),
    (200, 1, 20_000, 1_000, 5.0, None),
    (1, 500, 6_000, 1_500, 2.0, None),
]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-15, 15, 50, dtype=torch.float64)[:, None]
    return x, torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)


def jax_descent(
    net: MLP, x: torch.Tensor, y: torch.Tensor
) -> Callable[[int], tuple[np.ndarray, ...]]:
    """The same steps in JAX: value and gradient, vmap over the nets, scan over the steps, one
    jit."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        raise Unavailable("JAX is not installed: uv pip install -e .[bench]") from None

    jax.config.update("jax_enable_x64", True)
    inputs, targets = jnp.array(x[:, 0].numpy()), jnp.array(y[:, 0].numpy())
    start = tuple(jnp.array(p.numpy().reshape(*net.batch, -1)) for p in net.parameters())

    def loss(parameters):
        w, b, a = parameters
        return jnp.mean((jnp.tanh(inputs[:, None] * w + b) @ a - targets) ** 2)

    slope = jax.value_and_grad(loss)
    slope = jax.vmap(slope) if net.batch else slope

    def run(parameters, steps):
        def step(parameters, _):
            _, gradient = slope(parameters)
            return jax.tree.map(lambda p, g: p - LR * g, parameters, gradient), None

        return jax.lax.scan(step, parameters, None, length=steps)[0]

    compiled = jax.jit(run, static_argnums=1)
    return lambda steps: jax.block_until_ready(compiled(start, steps))


def torch_net(width: int) -> torch.nn.Sequential:
    layers = torch.nn.Linear(1, width), torch.nn.Tanh(), torch.nn.Linear(width, 1, bias=False)
    return torch.nn.Sequential(*layers).double()


def torch_descent(
    net: torch.nn.Sequential, x: torch.Tensor, y: torch.Tensor, by_hand: bool
) -> Callable[[int], None]:
    """One net in PyTorch as one writes it, with modules, autograd and an optimizer; or by hand, the
    formulas alone."""
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=LR), torch.nn.MSELoss()

    def usual(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()

    @torch.no_grad()
    def formulas(steps: int) -> None:
        w, b, a = (p.detach() for p in net.parameters())
        for _ in range(steps):
            t = torch.tanh(torch.addmm(b, x, w.T))
            r = (t @ a.T - y) * (2 / len(x))
            h = (1 - t * t) * (r @ a)
            a -= LR * (r.T @ t)
            w -= LR * (h.T @ x)
            b -= LR * h.sum(0)

    return formulas if by_hand else usual


@njit(nogil=True)
def tanh_over(z, out, scale, table, amount):
    const, unit = in_lanes(table), splat(scale)
    for _ in range(amount):
        for i in range(0, z.size // 8, 2):
            one, other = two_values(
                TANH, 1.0, load(z, i) * unit, load(z, i + 1) * unit, True, const
            )
            store(out, i, one)
            store(out, i + 1, other)


def tanh_alone(threads: int) -> Callable[[int], None]:
    """tanh of `NUMBERS` numbers, `amount` times on each thread."""
    room = [
        (aligned(NUMBERS // 8).reshape(-1), aligned(NUMBERS // 8).reshape(-1))
        for _ in range(threads)
    ]
    for z, _ in room:
        z[:] = np.random.default_rng(0).normal(size=NUMBERS)

    def run(amount: int) -> None:
        work = [
            threading.Thread(target=tanh_over, args=(z, out, unit(TANH), constants(TANH), amount))
            for z, out in room
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()

    run(1)
    return run


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The rows of the table, and other facts."""
    torch.set_num_threads(1)  # nets this small are slower on more
    x, y = data()
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for nets, width, steps, jax_steps, jax_target, torch_target in PROBLEMS:
        net = init(
            (1, width, 1),
            std=width**-1.5,
            batch=(nets,) if nets > 1 else (),
            output_bias=False,
            generator=0,
        )
        name = f"{nets} net{'s' * (nets > 1)} of width {width}, 50 samples"
        theirs = jax_descent(net, x, y)
        apart = _difference(net, descend(net, x, y, steps=jax_steps, lr=LR).net, theirs(jax_steps))
        facts[f"{name}: largest difference to JAX after {jax_steps} steps"] = apart

        def ours(amount: int, net: MLP = net) -> None:
            descend(net, x, y, steps=amount, lr=LR, threads=threads)

        contenders = {
            "ours": Contender(ours, steps),
            "JAX vmap + scan": Contender(theirs, jax_steps),
        }
        targets = {"JAX vmap + scan": jax_target}
        if nets > 1:
            for rival, by_hand in (
                ("torch, one net at a time", False),
                ("torch by hand, one net at a time", True),
            ):
                contenders[rival] = Contender(
                    torch_descent(torch_net(width), x, y, by_hand), 300, share=1 / nets
                )
                targets[rival] = None if by_hand else torch_target
            batched = lambda amount, net=net: descend(  # noqa: E731
                net, x, y, steps=amount, lr=LR, backend="torch"
            )
            contenders["torch, batched (our reference)"] = Contender(batched, 150)
            targets["torch, batched (our reference)"] = None
        evaluations = nets * width * 50
        # NUMBERS on each thread are one unit: share makes of it the tanh evaluations of one step.
        busy = min(threads, nets)  # a net is not divided over threads
        share = NUMBERS * busy / evaluations
        contenders["tanh alone (the limit)"] = Contender(tanh_alone(busy), 40_000, share)
        targets["tanh alone (the limit)"] = None
        times = interleave(contenders, rounds)
        rows += compare(name, times, "ours", targets)
        pace = np.median(times["ours"]) * busy / evaluations
        facts[f"{name}: ns a neuron, sample and thread"] = float(pace * 1e9)
        facts[f"{name}: share of the tanh limit"] = float(
            np.median(times["tanh alone (the limit)"] / times["ours"])
        )
        if busy > 1:
            facts[f"{name}: speed on {threads} threads against 1"] = _scaling(
                net, x, y, steps, threads, rounds
            )
    facts["operations of a step over those of tanh"] = flops("tanh", 1, 1) / FLOPS["tanh"][0]
    facts |= _other_nets(threads, rounds)
    facts |= _memory()
    facts |= _compile_times()
    return rows, facts


def _difference(net: MLP, ours: MLP, theirs: tuple[np.ndarray, ...]) -> float:
    parts = [np.asarray(p).reshape(*net.batch, -1) for p in theirs]
    return float(np.abs(flatten(ours).numpy() - np.concatenate(parts, axis=-1)).max())


def _scaling(
    net: MLP, x: torch.Tensor, y: torch.Tensor, steps: int, threads: int, rounds: int
) -> float:
    def on(count: int) -> Contender:
        return Contender(
            lambda amount: descend(net, x, y, steps=amount, lr=LR, threads=count), steps
        )

    times = interleave({"one": on(1), "all": on(threads)}, rounds)
    return float(np.median(times["one"] / times["all"]))


# Operations of an activation and of its way back, e -> sigma'(z) e, as `lib._simd.pointwise` does
# them in pairs: a quotient there is one half of a division and two and a half multiplications.
FLOPS = {"tanh": (20, 2), "sigmoid": (19, 2), "relu": (1, 1), "leaky_relu": (2, 2), "elu": (22, 3)}


def flops(activation: str, inputs: int, outputs: int) -> int:
    """Additions and multiplications a neuron and sample: the kernel's inner loops, a fused
    multiply-add counting as two."""
    there, back = FLOPS[activation]
    return 4 * inputs + 2 * outputs + there + back + (4 * outputs + 1 if outputs > 1 else 3)


def _other_nets(threads: int, rounds: int) -> dict[str, object]:
    """Our own pace for every activation, more inputs and outputs, and Adam: ns and operations a
    neuron and sample."""
    generator = torch.Generator().manual_seed(0)
    cases = [(name, (1, 3, 1), "gd") for name in FLOPS]
    cases += [
        ("tanh", (1, 3, 1), "adam"),
        ("relu", (1, 3, 1), "adam"),
        ("sigmoid", (4, 3, 3), "adam"),
    ]
    cases += [(name, (d, 3, 1), "gd") for d in (4, 16) for name in ("tanh", "relu")]
    contenders, counts, work = {}, {}, 200 * 3 * 50
    for activation, widths, optimizer in cases:
        x = torch.randn(50, widths[0], generator=generator, dtype=torch.float64)
        y = torch.randn(50, widths[-1], generator=generator, dtype=torch.float64)
        net = init(widths, activation, std=0.3, batch=(200,), generator=generator)
        name = f"{'-'.join(map(str, widths))}, {activation}, {optimizer}"

        def ours(amount: int, net: MLP = net, x=x, y=y, optimizer: str = optimizer) -> None:
            descend(net, x, y, steps=amount, lr=1e-3, optimizer=optimizer, threads=threads)

        contenders[name], counts[name] = (
            Contender(ours, 20_000),
            flops(activation, widths[0], widths[-1]),
        )
    times = interleave(contenders, rounds)
    pace = {name: float(np.median(taken) * threads / work * 1e9) for name, taken in times.items()}
    return {
        "pace of 200 nets, 50 samples: operations and ns a neuron, sample and thread": {
            n: [counts[n], pace[n]] for n in pace
        }
    }


def _memory() -> dict[str, object]:
    setup = (
        "import torch; torch.set_num_threads(1)\nfrom benchmarks.descent import *\nx, y = data()\n"
        "net = init((1, 3, 1), batch=(10_000,), output_bias=False, generator=0)"
    )
    calls = {"200 records": "", "200 records, keep_smallest=False": ", keep_smallest=False"}
    return {
        f"peak MiB of 10000 nets of width 3, {name}": peak_mib(
            setup, f"run = descend(net, x, y, steps=400, lr=LR{extra})"
        )
        for name, extra in calls.items()
    }


def _compile_times() -> dict[str, object]:
    """Seconds of the first call of a kernel in a new process, without and with Numba's disk
    cache."""
    code = (
        "import time, torch; from lib.train.descent import descend; from lib.nets import init\n"
        "x = torch.ones(2, 1, dtype=torch.float64); start = time.perf_counter()\n"
        "descend(init((1, 2, 1), generator=0), x, x, steps=1, lr=0.1); print(time.perf_counter() - start)"  # noqa: E501
    )
    facts: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for state in ("nothing compiled yet", "compiled earlier"):
            command = [sys.executable, "-c", code]
            done = subprocess.run(
                command,
                env=os.environ | {"NUMBA_CACHE_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            facts[f"first call of a kernel, {state}: seconds"] = float(done.stdout)
    return facts
