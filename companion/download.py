"""Fill the data folder: MNIST and CIFAR-10 through torchvision, kept as npz files that
`companion.data` reads."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from companion import data, paths


def fetch(name: str, split: str, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """One split as torchvision has it: images uint8, labels int64."""
    import torchvision

    kind = {"mnist": torchvision.datasets.MNIST, "cifar10": torchvision.datasets.CIFAR10}[name]
    try:
        found = kind(str(scratch), train=split == "train", download=True)
    except (OSError, RuntimeError, EOFError) as fault:  # no network, cut off, something else came
        raise ValueError(
            f"the download of {name} {split} failed ({fault}): run `make data` again; what is"
            " whole is kept"
        ) from None
    return np.asarray(found.data, dtype=np.uint8), np.asarray(found.targets, dtype=np.int64)


Fetch = Callable[[str, str, Path], tuple[np.ndarray, np.ndarray]]


def fill(folder: Path, fetch: Fetch = fetch) -> list[Path]:
    """Download what is missing or damaged.

    Args:
        folder: the data folder;  fetch: where arrays come from, as `fetch`.
    Returns:
        The files written.
    Raises:
        ValueError: what came is not the published set.
    """
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in data.DOWNLOADED:
            data.files(name, folder)  # a folder in the place of a file is the user's to remove
            for split in ("train", "test"):
                try:
                    data.load(name, split, folder)
                    print(f"{name} {split}: already in {folder}")
                    continue
                except (data.MissingData, ValueError):
                    pass
                images, labels = fetch(name, split, Path(scratch))
                if not data.genuine(name, split, images, labels):
                    raise ValueError(
                        f"the download of {name} {split} is not the published set: try again"
                    )
                path = folder / name / f"{split}.npz"
                _keep(path, images, labels)
                for former in set(folder.glob(f"{name}/{split}*.npz")) - {path}:
                    former.unlink()
                written.append(path)
                print(f"{name} {split}: {path}")
    return written


def _keep(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, images=images, labels=labels)
    paths.write_atomic(path, packed.getvalue())
