"""The toy book as fixtures."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from toybook import inside, make_toy

collect_ignore = ["toy"]  # chapters, not modules with examples


@pytest.fixture
def toy(tmp_path) -> Path:
    """A toy book that has not run."""
    return make_toy(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A toy book, built once for all tests; do not change it."""
    root = make_toy(tmp_path_factory.mktemp("toybook"))
    done = inside(root, "build", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def executed(built) -> nbformat.NotebookNode:
    """The executed first chapter of the toy book, to be spoilt at will."""
    (path,) = (built / "_build" / "runs").glob("01_toy-*.ipynb")
    return nbformat.read(path, 4)
