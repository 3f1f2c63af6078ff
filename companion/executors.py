"""Snakemake with the one executor that a run needs: `python -m companion.executors <its options>`.

Snakemake imports every executor that is installed, and those for clusters take seconds, at each
start of each build. Which one is wanted is named in the environment variable BOOK_EXECUTOR.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

BUILT_IN = ("local", "dryrun", "touch")
# the second runs a job inside the allocation that the first asks for
PLUGINS = {
    "slurm": ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_slurm_jobstep"),
    "kubernetes": ("snakemake_executor_plugin_kubernetes",),
}


def _collect(registry: Any) -> None:
    registry.plugins = {}
    for name in PLUGINS.get(os.environ.get("BOOK_EXECUTOR", ""), ()):
        registry.register_plugin(name, importlib.import_module(name))
    for name in BUILT_IN:
        registry.register_plugin(name, importlib.import_module(f"snakemake.executors.{name}"))


if __name__ == "__main__":
    ExecutorPluginRegistry.collect_plugins = _collect
    from snakemake.cli import main

    sys.exit(main())
