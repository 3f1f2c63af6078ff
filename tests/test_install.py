"""`pip install .` brings what `lib` needs, and that is all it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# what the pages and the tests need, and Numba, which only kernels need
ABSENT = "numba llvmlite jupyter_core IPython nbformat papermill snakemake playwright matplotlib"
BLOCKED = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import torch
from lib.nets import MLP
from lib.width import split
net = MLP((torch.ones(2, 1), torch.ones(1, 2)))
print(split(net, 1, 0, 0.25).weights[1].tolist())
"""


def test_a_neuron_is_split_where_neither_jupyter_nor_numba_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "[[0.75, 1.0, 0.25]]", done.stderr


def test_lib_imports_nothing_that_is_not_a_dependency() -> None:
    named = {Requirement(d).name.replace("-", "_") for d in PROJECT["dependencies"]}
    # Triton comes with torch where it exists, flint is what python-flint installs
    named |= {"lib", "triton", "flint"}
    foreign = set()
    for path in (ROOT / "lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            foreign |= {m.split(".")[0] for m in modules}
    assert foreign - set(sys.stdlib_module_names) - named == set()
