"""Matrix-free curvature of one large net: our product with the Hessian against curvlinops', and the
ends of its spectrum.

    python -m benchmarks spectra          (curvlinops comes with `uv pip install -e .[bench]`)

curvlinops' `HessianLinearOperator` takes any module and data loader; ours, `lib.curvature.matrix_free.hvp`,
takes an `MLP` and a batch of vectors. Both go through the same ARPACK iteration, so only the
product differs."""  # noqa: E501

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from benchmarks.operations import multiply_adds
from benchmarks.timing import Contender, Row, Unavailable, compare, interleave, peak_mib
from lib.curvature import extreme_eigenvalues
from lib.curvature.matrix_free import hvp
from lib.nets import MLP, init, to_sequential

CASES = [((1, 500, 1), 50), ((784, 128, 128, 10), 256)]
RIVAL = "curvlinops"


def problem(widths: tuple[int, ...], n: int) -> tuple[MLP, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, widths[0], generator=g, dtype=torch.float64)
    return (
        init(widths, "tanh", generator=g),
        x,
        torch.randn(n, widths[-1], generator=g, dtype=torch.float64),
    )


def operator(net: MLP, x: torch.Tensor, y: torch.Tensor):
    try:
        from curvlinops import HessianLinearOperator
    except ImportError:
        raise Unavailable("curvlinops is not installed: uv pip install -e .[bench]") from None
    module = to_sequential(net)
    parameters = list(module.parameters())
    return HessianLinearOperator(
        module, torch.nn.MSELoss(), parameters, [(x, y)], check_deterministic=False
    )


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """Rows for one product and for five eigenvalues at either end, and how far the results lie
    apart."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", module="curvlinops.*")
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for widths, n in CASES:
        net, x, y = problem(widths, n)
        theirs, size = operator(net, x, y), net.n_parameters
        v = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        name = f"{'-'.join(map(str, widths))}, {size} parameters, {n} samples"
        exact = hvp(net, x, y, v)
        facts[f"{name}: relative difference of the products"] = float(
            (exact - theirs @ v).norm() / exact.norm()
        )
        jobs = {
            "ours": Contender(lambda k, p=(net, x, y, v): [hvp(*p) for _ in range(k)], 5),
            RIVAL: Contender(lambda k, op=theirs, v=v: [op @ v for _ in range(k)], 5),
        }
        operations = multiply_adds(lambda p=(net, x, y, v): hvp(*p))
        rows += compare(
            f"product: {name}", interleave(jobs, rounds), "ours", {RIVAL: None}, operations
        )
        mine = extreme_eigenvalues(net, x, y, k=3, which="largest")
        found = spectrum(theirs, size)
        facts[f"{name}: relative difference of the 3 largest eigenvalues"] = float(
            np.abs(mine.values.numpy() - found).max() / np.abs(found).max()
        )
        jobs = {
            "ours": Contender(
                lambda _, p=(net, x, y): extreme_eigenvalues(*p, k=3, which="largest"), 1
            ),
            RIVAL: Contender(lambda _, op=theirs, size=size: spectrum(op, size), 1),
        }
        times = interleave(jobs, max(3, rounds // 3))
        operations = multiply_adds(
            lambda p=(net, x, y): extreme_eigenvalues(*p, k=3, which="largest")
        )
        rows += compare(f"3 largest eigenvalues: {name}", times, "ours", {RIVAL: None}, operations)
    setup = "from benchmarks.spectra import *\np = problem(*CASES[1]); torch.set_num_threads(1)"
    facts["peak MiB of 3 eigenvalues of the larger net"] = peak_mib(
        setup, "extreme_eigenvalues(*p, k=3)"
    )
    facts["MiB that its Hessian would take"] = 8 * size**2 / 2**20
    return rows, facts


def spectrum(op, size: int) -> np.ndarray:
    def apply(v: np.ndarray) -> np.ndarray:
        return (op @ torch.from_numpy(np.ascontiguousarray(v).reshape(-1))).numpy()

    start = np.random.default_rng(0).standard_normal(size)
    return np.sort(
        eigsh(
            LinearOperator((size, size), matvec=apply, dtype=np.float64), k=3, which="LA", v0=start
        )[0]
    )
