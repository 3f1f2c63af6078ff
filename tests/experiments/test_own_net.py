"""The notebook and the page on nets of the reader's."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

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
