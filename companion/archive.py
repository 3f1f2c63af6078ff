"""An RO-Crate of the book: what others need to read, check and run it again, with checksums.

_build/archive/<profile>/ holds the pages, the executed notebooks, the records, the trials behind
each claim as CSV, the sources' pins, and ro-crate-metadata.json, which says what each file is;
manifest-sha256.txt has a checksum for every file, data.json one for every data set that was read.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from rocrate.model.person import Person
from rocrate.rocrate import ROCrate

from companion import data, gate, paths, plan, provenance, site
from companion.measurement import rows
from companion.request import Request

SOURCES = ("requirements.txt", "pyproject.toml", "environment.yml", "CITATION.cff", "LICENSE")
MANIFEST = "manifest-sha256.txt"


def run(request: Request, root: Path) -> Path:
    """Write the crate and the same as one zip beside it.

    Returns:
        The zip.
    Raises:
        FileNotFoundError: the book is not built in its present state.
    """
    jobs = request.jobs(root)
    if not site.is_built(jobs, request, root):
        raise FileNotFoundError(
            f"the book of the {request.profile} profile is not built in its present state:"
            f" make book PROFILE={request.profile} first"
        )
    target = root / "_build" / "archive" / request.profile
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=target.parent) as scratch:
        crate = Path(scratch) / "crate"
        _gather(jobs, root / request.folder / "html", crate, root)
        _describe(crate, request, jobs, root)
        manifest(crate)
        shutil.rmtree(target, ignore_errors=True)
        packed = shutil.make_archive(str(Path(scratch) / request.profile), "zip", crate)
        crate.rename(target)
        return Path(packed).replace(target.with_suffix(".zip"))


def _gather(jobs: list[plan.Job], html: Path, crate: Path, root: Path) -> None:
    shutil.copytree(html, crate / "book")
    (crate / "notebooks").mkdir()
    (crate / "rows").mkdir()
    for job in jobs:
        shutil.copy(root / job.executed, crate / "notebooks" / f"{job.chapter}.ipynb")
        measured = gate.measurements(nbformat.read(root / job.executed, 4))
        for name, m in measured.items():
            if m.trials is not None:
                (crate / "rows" / f"{name}.csv").write_text(rows(m), encoding="utf-8")
    if (root / "book" / "records").is_dir():
        shutil.copytree(root / "book" / "records", crate / "records")
    for name in SOURCES:
        if (root / name).is_file():
            shutil.copy(root / name, crate / name)
    packages = sorted(f"{d.name}=={d.version}" for d in metadata.distributions())
    environment = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": provenance.device(),
        "commit": provenance.commit(root),
        "packages": packages,
    }
    (crate / "environment.json").write_text(json.dumps(environment, indent=1), encoding="utf-8")
    text = json.dumps(_data(jobs, root), indent=1)
    (crate / "data.json").write_text(text, encoding="utf-8")


def _data(jobs: list[plan.Job], root: Path) -> dict[str, Any]:
    """What was read: per chapter the checksums that its run noted, and the files downloaded."""
    read: dict[str, Any] = {}
    for job in jobs:
        for _, record in gate.entries(nbformat.read(root / job.executed, 4), "record"):
            read[job.chapter] = dict(record["provenance"]["data"])
    files = {
        f"{name}/{f.name}": {"bytes": f.stat().st_size, "sha256": _sha256(f)}
        for name in sorted({n for job in jobs for n in plan.sets(job.parameters)})
        for f in data.files(name, paths.data_dir())
    }
    return {"read by the chapters": read, "downloaded files": files}


def _describe(crate: Path, request: Request, jobs: list[plan.Job], root: Path) -> None:
    told = ROCrate()
    told.name = f"Companion to the loss landscape, {request.profile} profile"
    told.description = "The book, its executed notebooks, records, rows and environment."
    told.license = "https://spdx.org/licenses/BSD-3-Clause"
    told.creator = told.add(Person(told, properties={"name": "The authors of the companion"}))
    told.root_dataset["version"] = provenance.commit(root)
    folders = {
        "book": "The pages; begin with index.html.",
        "records": "What the larger scales measured.",
        "rows": "The trials behind each empirical claim.",
    }
    for name, words in folders.items():
        if (crate / name).is_dir():
            told.add_dataset(crate / name, name, properties={"name": name, "description": words})
    for job in jobs:
        about = {
            "name": f"{job.chapter}, executed",
            "encodingFormat": "application/x-ipynb+json",
            "description": f"Repeated by: {job.command}",
        }
        path = f"notebooks/{job.chapter}.ipynb"
        told.add_file(crate / path, path, properties=about)
    for file in sorted(p for p in crate.iterdir() if p.is_file()):
        told.add_file(file, file.name)
    told.metadata.write(crate)


def manifest(crate: Path) -> Path:
    """Write the checksum of every file, in the form that `sha256sum --check` reads."""
    files = sorted(p for p in crate.rglob("*") if p.is_file() and p.name != MANIFEST)
    lines = [f"{_sha256(p)}  {p.relative_to(crate).as_posix()}\n" for p in files]
    (crate / MANIFEST).write_text("".join(lines), encoding="utf-8")
    return crate / MANIFEST


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
