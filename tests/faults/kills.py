"""SIGKILL at random moments: over the training of nets that keeps its states in a folder, over
records, and over the build of a toy book. What comes out in the end must be what comes out without
it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import torch
from faults import forked
from faults.table import Row
from toybook import surroundings

from companion import data, gate, records
from experiments.families import Run, train_family
from lib.nets import Design
from lib.train.sgd import Recipe, to_images

UNDISTURBED = "as without a fault"
BUILD = "SIGKILL while the book is built"


def training(folder: Path | None, epochs: int = 12) -> str:
    """Train two small nets on digits, with a folder of states or in memory: a digest of all."""
    x, y = data.digits("train")
    family = train_family(
        Design(depth=11, width=1 / 32, hidden=8, channels=1, side=8, pools=3),
        [("he_normal", 0), ("code_uniform", 0)],
        to_images(x[:32], 8),
        torch.as_tensor(y[:32]),
        Recipe(epochs=epochs, batch=16, lr=0.02, milestones=(), pad=None),
        checkpoints=range(1, 12),
        run=Run(processes=1, folder=folder),
    )
    whole = hashlib.sha256()
    for member in family:
        for _, net in sorted(member.nets.items()):
            for parameter in net.state_dict().values():
                whole.update(parameter.numpy().tobytes())
        whole.update(repr(member.history).encode())
    return whole.hexdigest()


def kill_training(folder: Path, kills: int, seed: int = 0) -> Row:
    """Kill training that goes on from its folder, again and again."""
    draws = random.Random(seed)
    training(None, epochs=1)  # imports and warms what the processes then start with
    began = time.monotonic()
    wanted = forked.call(lambda: training(None)).value
    whole = time.monotonic() - began
    done, right, faults, turn = 0, 0, [], 0
    while done < kills:
        turn += 1
        place = folder / str(turn)
        while True:
            limit = draws.uniform(0, 1.2 * whole) if done < kills else None
            ended = forked.call(lambda place=place: training(place), kill_after=limit)
            if ended.signal and limit is not None:
                done += 1
                continue
            break
        same = ended.value == wanted is not None
        right += same
        faults += [] if same else [ended.error or "other numbers"]
    lost = 0 if right == turn else done
    note = faults[0] if faults else f"{turn} runs to their end"
    what = f"final nets and their history bit for bit {UNDISTURBED}"
    return Row("SIGKILL while nets are trained with a store", done, done - lost, what, note)


def kill_record(folder: Path, kills: int, seed: int = 0) -> Row:
    """Kill the writing of records. After each kill the record is one of the two that were written,
    whole, or is refused."""
    draws = random.Random(seed)

    def record(k: int) -> tuple[dict, dict]:
        rows = "x,y\n" + "\n".join(f"{i},{k}" for i in range(4000))
        meta = {"chapter": "01_toy", "profile": "quick", "parameters": {"k": k}}
        return {**meta, "provenance": {}, "claims": {}}, {"odd": {"odd.csv": _b64(rows)}}

    def write() -> None:
        for k in range(10**6):
            records.save(*record(k % 2), folder)

    records.save(*record(0), folder)
    right, note = 0, ""
    for _ in range(kills):
        forked.call(write, kill_after=draws.uniform(0, 0.05))
        try:
            found = records.load("01_toy", "quick", folder)
            good = found is not None and set(found.curves["odd"]["y"]) == {found.parameters["k"]}
        except ValueError as refusal:
            good = "record" in str(refusal)
        right += good
        note = note or ("" if good else "a record was mixed from two")
        records.save(*record(0), folder)  # the next `make record` mends it
    return Row("SIGKILL while a record is written", kills, right, "whole, or refused by name", note)


def _b64(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()


def start(root: Path, *words: str) -> subprocess.Popen:
    """`python -m companion build` in a toy book, with a session of its own."""
    command = [sys.executable, "-m", "companion", "build", "--cores", "2", *words]
    return subprocess.Popen(
        command,
        cwd=root,
        env=surroundings(root),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Wait for a build: its status and what it said."""
    said, _ = process.communicate(timeout=900)
    return process.returncode, said


def results(root: Path) -> str:
    """All claims and all numbers behind figures of a built toy book, as one text."""
    found = {}
    for path in sorted((root / "_build" / "runs").glob("*.ipynb")):
        nb = nbformat.read(path, 4)
        figures = {meta["name"]: meta["data"] for _, meta in gate.entries(nb, "figure")}
        claims = [meta for _, meta in gate.entries(nb, "claim")]
        found[path.name] = [claims, figures]
    pages = sorted(p.name for p in (root / "_build" / "quick" / "html").glob("*.html"))
    return json.dumps([found, pages], sort_keys=True)


def kill_builds(root: Path, kills: int, seconds: float, wanted: str, seed: int = 0) -> Row:
    """Kill the build of a toy book, all its processes or the first alone, and start it again.

    Args:
        root: a toy book that was built;  wanted: its `results`;
        seconds: after which no new round is begun.
    """
    draws, began = random.Random(seed), time.monotonic()
    once = 0.0
    done, lost, rounds, note = 0, 0, 0, ""
    while done < kills and time.monotonic() - began < seconds:
        shutil.rmtree(root / "_build")
        rounds += 1
        for _ in range(3):
            process = start(root)
            time.sleep(draws.uniform(0, once or 20))
            tree = draws.random() < 0.7
            done += _kill(process, tree)
        last = time.monotonic()
        code, said = finish(start(root))
        once = max(once, time.monotonic() - last)
        if code or results(root) != wanted:
            lost += 3
            note = note or said[-200:].replace("\n", " ")
    note = note or f"{rounds} books to their end"
    what = f"claims, figure numbers and pages {UNDISTURBED}; no lock, no half-written file"
    return Row(BUILD, done, done - lost, what, note)


def _kill(process: subprocess.Popen, tree: bool) -> bool:
    """Kill the build and all that it started, or the first process alone; whether it still ran."""
    import psutil

    running = process.poll() is None
    if running:
        others = psutil.Process(process.pid).children(recursive=True) if tree else []
        for one in [psutil.Process(process.pid), *others]:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
    process.stdout.close()
    process.wait()
    return running


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    content = np.fromfile(path, np.uint8)
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content.tobytes())
