"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd, with their files in a
folder of their own, except that srun wants to find /etc/slurm/slurm.conf."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue")
CONF = """
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=toy Nodes={host} Default=YES MaxTime=60 State=UP
"""


def install() -> None:
    """Install Debian's packages."""
    if all(map(shutil.which, COMMANDS)):
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = {"stdout": subprocess.DEVNULL, "timeout": 300, "check": True}
    subprocess.run([*as_root, "apt-get", "update", "-qq"], **quiet)
    words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq"]
    subprocess.run([*as_root, *words, "--no-install-recommends", *PACKAGES], **quiet)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start the cluster, give the environment in which sbatch finds it, and end it."""
    folder.chmod(0o755)  # munged wants no folder that others can write to
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
    conf = folder / "slurm.conf"
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    filled = CONF.format(
        host=host, user=user, folder=folder, ports=_ports(2), cpus=os.cpu_count(), memory=memory
    )
    conf.write_text(filled)
    link = Path("/etc/slurm/slurm.conf")
    if link.exists():
        raise RuntimeError(f"{link} is there: this machine belongs to a SLURM of its own")
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(conf)
    seen = {**os.environ, "SLURM_CONF": str(conf)}
    munge = [f"--{k}-file={folder}/munge.{k}" for k in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", host],
    ]
    running = []
    try:
        for command in commands:
            command[0] = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
            with (folder / f"{Path(command[0]).name}.out").open("w") as log:
                running.append(subprocess.Popen(command, env=seen, stdout=log, stderr=log))
            time.sleep(1)
        _wait(seen, folder)
        yield seen
    finally:
        link.unlink()
        for process in reversed(running):
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)


def _wait(seen: dict[str, str], folder: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        command = ["sinfo", "--noheader", "--format=%T"]
        done = subprocess.run(command, env=seen, capture_output=True, text=True, timeout=60)
        if done.stdout.strip() in ("idle", "mixed"):
            return
        time.sleep(1)
    logs = "\n".join(p.read_text()[-1500:] for p in folder.glob("*.[ol][uo][tg]"))
    raise RuntimeError(f"the cluster does not come up: {done.stdout}{done.stderr}\n{logs}")


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
