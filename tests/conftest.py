"""What every test may rely on."""

from __future__ import annotations

import random
import signal
import zlib

import hypothesis
import numpy as np
import pytest
import torch

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; tests of interrupts
# need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: what fails for one reader fails for all.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Draws without a generator are those of the test's name, in whatever order tests run."""
    seed = zlib.crc32(item.nodeid.encode())
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for what still draws from the old stream
    random.seed(seed)
