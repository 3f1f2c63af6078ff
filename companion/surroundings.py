"""The environment variables that a chapter runs with."""

from __future__ import annotations

import os
from pathlib import Path

from companion import paths


def of_kernel(profile: str, threads: int, root: Path, runtime: str) -> dict[str, str]:
    """What a kernel gets to see beside the caller's environment: neither the reader's kernels, nor
    start-up files, nor settings of matplotlib may change a page.

    Args:
        runtime: a folder for what it writes on the way.
    """
    limits = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(limits, str(threads)),
        "BOOK_PROFILE": profile,
        "TQDM_DISABLE": "1",  # a progress bar would be printed into the page
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONWARNINGS": "",
        "JUPYTER_PREFER_ENV_PATH": "1",
        **dict.fromkeys(("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"), runtime),
        "XDG_CACHE_HOME": str(paths.cache_dir(root)),
        "MPLCONFIGDIR": str(paths.cache_dir(root) / "matplotlib"),
        "MATPLOTLIBRC": os.path.join(runtime, "matplotlibrc"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
