"""Places that cannot be written to, in whole or in part, and builds that are disturbed."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from faults import forked
from faults.kills import UNDISTURBED, finish, results, start
from faults.table import Row
from toybook import make_toy

from companion import paths, records


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of that size, mounted in a folder.

    Raises:
        PermissionError: this user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        raise PermissionError("this user may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def files_too_large(folder: Path, sizes: int = 20) -> Row:
    """Write a file and a record where no file may grow beyond some bytes: the former stay whole,
    and nothing half-written stays behind."""
    right, note = 0, ""
    for k in range(sizes):
        place = folder / str(k)
        paths.write_atomic(place / "a.txt", "former")
        meta = {"chapter": "01_toy", "profile": "quick", "parameters": {"k": 0}}
        record = {**meta, "provenance": {}, "claims": {}}
        records.save(record, {}, place)
        noise = "x" + "".join(map(str, np.random.default_rng(k).integers(0, 10, 20000)))

        def write(place: Path = place, record: dict = record, noise: str = noise) -> None:
            with contextlib.suppress(OSError):
                paths.write_atomic(place / "a.txt", noise)
            records.save({**record, "parameters": {"k": noise}}, {}, place)

        ended = forked.call(write, limits={resource.RLIMIT_FSIZE: 1 + 900 * k})
        left = [p.name for p in place.rglob("*") if p.is_file()]
        found = records.load("01_toy", "quick", place)
        good = (
            (place / "a.txt").read_text() in ("former", noise)
            and found is not None
            and found.parameters["k"] in (0, noise)
            and sorted(left) == ["01_toy.json", "01_toy.npz", "a.txt"]
            and (not ended.error or "File too large" in ended.error)
        )
        right += good
        note = note or ("" if good else f"{left} {ended.error}"[:100])
    what = "the former content or the new one, whole; one error in words; nothing left behind"
    return Row("A file that may not grow (full quota)", sizes, right, what, note)


def full_disk(folder: Path, wanted: str, seconds: float) -> Row:
    """Build a toy book on a disk that fills up, then on the same disk made larger."""
    what = f"one error that names the cause; after more room was made, all {UNDISTURBED}"
    kind, tried, right, note, began = (
        "Disk full while the book is built",
        0,
        0,
        "",
        time.monotonic(),
    )
    for share in (0.02, 0.4, 0.75, 0.1, 0.9):
        if tried and time.monotonic() - began > seconds:
            break
        try:
            with small_disk(folder / str(share), 100_000) as disk:
                root = make_toy(disk / "toy")
                used = shutil.disk_usage(disk).used // 1024
                remount(disk, f"size={used + int(share * 24_000)}k")
                code, said = finish(start(root))
                told = code != 0 and "No space left" in said and "The book was not built" in said
                remount(disk, "size=200000k")
                again, _ = finish(start(root))
                tried += 1
                good = told and again == 0 and results(root) == wanted
                right += good
                note = note or ("" if good else f"{code} {again} {said[-300:]}".replace("\n", " "))
        except PermissionError as fault:
            return Row(kind, 0, 0, what, f"skipped: {fault}")
    return Row(kind, tried, right, what, note)


def read_only(folder: Path) -> Row:
    """Build where nothing can be written."""
    kind, what = "Output that is read-only", "one error in words, without a traceback"
    try:
        with small_disk(folder, 100_000) as disk:
            root = make_toy(disk / "toy")
            remount(disk, "ro")
            code, said = finish(start(root))
    except PermissionError as fault:
        return Row(kind, 0, 0, what, f"skipped: {fault}")
    good = code != 0 and "Read-only file system" in said and "Traceback" not in said
    return Row(kind, 1, int(good), what, "" if good else said[-200:].replace("\n", " "))


def two_at_once(root: Path, wanted: str) -> Row:
    """Two builds of one book side by side."""
    shutil.rmtree(root / "_build", ignore_errors=True)
    ended = [finish(p) for p in [start(root), start(root)]]
    good = all(code == 0 for code, _ in ended) and results(root) == wanted
    note = "" if good else ended[0][1][-150:] + ended[1][1][-150:]
    return Row("Two builds at once", 1, int(good), f"both end well, {UNDISTURBED}", note)


def edited(root: Path, wanted: str) -> Row:
    """Edit a chapter while it runs, then build again, and once more with the edit taken back."""
    source = root / "book" / "02_slow.py"
    former, profile = source.read_text(), root / "book" / "profiles" / "quick.yaml"
    profile.write_text("02_slow: {wait: 8}\n")
    process = start(root, "--until", "chapters")
    for line in process.stdout:
        if line.startswith("02_slow") and "A second chapter" in line and "2/" in line:
            break
    source.write_text(former + "\n# %%\nedited = True\n")
    code, said = finish(process)
    told = code != 0 and "02_slow: a file that it rests on was edited while it ran" in said
    source.write_text(former)
    profile.write_text("{}\n")
    again, _ = finish(start(root))
    good = told and again == 0 and results(root) == wanted
    what = f"refused by name; with the edit taken back {UNDISTURBED}"
    return Row("An edit while the book is built", 1, int(good), what, "" if good else said[-300:])


def clock(root: Path) -> Row:
    """Files of the past and of the future: nothing is run again for that."""
    right, times = 0, (0, 10**9, 2**32)
    for seconds in times:
        for path in [*(root / "_build").rglob("*"), *(root / "book").rglob("*")]:
            if path.exists():
                os.utime(path, (seconds, seconds))
        code, said = finish(start(root))
        right += code == 0 and "Nothing has changed" in said
    return Row("A clock that jumps (1970, 2001, 2106)", len(times), right, "nothing runs again")


def prepared(folder: Path) -> tuple[Path, str]:
    """A toy book that was built, and its results."""
    root = make_toy(Path(tempfile.mkdtemp(dir=folder)) / "toy")
    code, said = finish(start(root))
    assert code == 0, said
    return root, results(root)
