"""A sweep on a real SLURM: slurmctld, slurmd and munge on this machine. `TEST_SLURM=1` asks for it;
Debian's packages are installed where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import slurm
from toybook import ROOT

pytestmark = pytest.mark.xdist_group("toybook")


@pytest.mark.skipif(
    not os.environ.get("TEST_SLURM"),
    reason="runs when TEST_SLURM=1 is set: it installs Debian's SLURM where that is missing",
)
def test_a_sweep_runs_on_slurm(toy) -> None:
    slurm.install()
    command = [sys.executable, "-m", "companion", "sweep", "--chapter", "02_slow"]
    command += ["--set", "wait=0..0.05..0.01", "--on", str(ROOT / "profiles" / "slurm")]
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        with slurm.cluster(Path(folder)) as seen:
            seen |= {"PYTHONPATH": str(toy), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                command, cwd=toy, env=seen, capture_output=True, text=True, timeout=3000
            )
            print(done.stdout, done.stderr)
        log = (Path(folder) / "slurmctld.log").read_text()
    print(log)
    assert done.returncode == 0 and "6 points done" in done.stdout, done.stdout + done.stderr
    assert "sched: Allocate JobId=1" in log and "JobId=2" in log, log
    (table,) = (toy / "_build" / "sweeps" / "02_slow").glob("sweep-*/claims.parquet")
    assert list(pd.read_parquet(table)["verdict"]) == ["reproduced"] * 6


def test_the_profile_of_slurm_is_read_by_snakemake(tmp_path) -> None:
    # that of Kubernetes asks for the configuration of a cluster, even in a dry run
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'x'\n    shell: 'touch x'\n")
    for profile in (ROOT / "profiles" / "slurm",):
        command = [sys.executable, "-m", "companion.executors", "--dry-run", "--quiet", "all"]
        command += ["--snakefile", str(tmp_path / "Snakefile"), "--directory", str(tmp_path)]
        command += ["--profile", "none", "--workflow-profile", str(profile)]
        seen = {**os.environ, "PYTHONPATH": str(ROOT), "BOOK_EXECUTOR": profile.name}
        done = subprocess.run(command, env=seen, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
