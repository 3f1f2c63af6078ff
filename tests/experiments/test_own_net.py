"""The notebook and the page on nets of the reader's."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import papermill
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from companion.notebooks import KERNEL
from experiments import own_net

ROOT = Path(__file__).resolve().parents[2]
NET = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.stream = nn.Identity()

    def forward(self, x):
        x = self.first(x).relu()
        return self.last(self.stream(x + self.block(x).relu()))

def make():
    torch.manual_seed(0)
    return Residual()

def number():
    return 3
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    draws = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=draws.normal(size=(30, 3)), y=draws.integers(2, size=30))
    return tmp_path


def test_the_page_prints_what_it_says() -> None:
    found = doctest.testfile(str(ROOT / "book" / "own_net.md"), module_relative=False)
    assert found.attempted > 30 and found.failed == 0


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return jupytext.read(ROOT / "templates" / "own_net.py")


def test_the_notebook_runs_on_a_module_and_data_given_by_their_paths(folder, notebook) -> None:
    given = {"module": f"{folder}/net.py:make", "data": f"{folder}/data.npz", "samples": 20}
    notebook.metadata.kernelspec = KERNEL
    nbformat.write(notebook, folder / "own_net.ipynb")
    loaded = papermill.iorw.load_notebook_node(str(folder / "own_net.ipynb"))
    filled = papermill.parameterize.parameterize_notebook(loaded, given)
    shell, tables = InteractiveShell(), []
    for cell in filled.cells:
        if cell.cell_type == "code":
            done = shell.run_cell(cell.source)
            done.raise_error()
            tables += [] if done.result is None else [done.result]
    assert len(tables) == 5 and tables[0]["group"].tolist() == ["first", "last"]
    assert tables[0]["left alone"].tolist() == ["", "they are the outputs of the net"]
    assert shell.user_ns["x"].shape == (20, 3)


@pytest.mark.slow
def test_the_command_of_the_page_writes_the_notebook(folder, notebook) -> None:
    nbformat.write(notebook, folder / "own_net.ipynb")
    command = [sys.executable, "-m", "papermill", str(folder / "own_net.ipynb"), str(folder / "o")]
    command += ["-k", "python3", "-p", "module", f"{folder}/net.py:make"]
    command += ["-p", "data", f"{folder}/data.npz"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [o for c in nbformat.read(folder / "o", 4).cells for o in c.get("outputs", ())]
    assert sum(o.output_type == "execute_result" for o in outputs) == 5


def test_what_is_measured_on_a_residual_net(folder) -> None:
    net = own_net.load_net(f"{folder}/net.py:make")
    x, y = own_net.load_data(str(folder / "data.npz"), 20)
    assert (own_net.splits(net, x, 0.3).iloc[:, 1:] < 1e-14).all(axis=None)
    chain = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    costs = own_net.merges(chain.double().eval(), x, [1.0, -1.0])
    assert costs["channels gone"].tolist()[0] == 0 < costs["channels gone"].tolist()[1]
    assert costs["relative change"][0] < 1e-14 < costs["relative change"][1]
    found = own_net.certificate(net, x, y, 0.3)
    assert found["largest change of an output"] < 1e-14
    assert sum(found["eigenvalues before"]) == found["parameters"][0] == 46
    grafts = own_net.self_grafts(net, x).set_index("after")
    assert grafts["relative loss"]["stream"] < 1e-10
    assert "around it" in grafts["refused"]["block"]


def test_modules_and_data_that_are_none_are_refused_in_words(folder) -> None:
    for module, kind, words in (
        ("net", ValueError, "expected path.py:function"),
        (f"{folder}/none.py:make", FileNotFoundError, "no file"),
        (f"{folder}/net.py:build", ValueError, "has no function build"),
        (f"{folder}/net.py:number", TypeError, "gives int: expected a torch.nn.Module"),
    ):
        with pytest.raises(kind, match=words):
            own_net.load_net(module)
    np.savez(folder / "x.npz", x=np.ones((2, 3)))
    np.savez(folder / "nan.npz", x=np.full((2, 3), np.nan), y=np.ones(2))
    for data, kind, words in (
        (folder / "no.npz", FileNotFoundError, "no file"),
        (folder / "net.py", ValueError, "is no .npz file"),
        (folder / "x.npz", ValueError, r"holds \['x'\]: expected x and y"),
        (folder / "nan.npz", ValueError, "NaN or infinite"),
    ):
        with pytest.raises(kind, match=words):
            own_net.load_data(str(data), 10)
