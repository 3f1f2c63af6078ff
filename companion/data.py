"""The data sets of the book: Iris and digits, which scikit-learn ships, and MNIST and CIFAR-10 from
a data folder.

The folder holds `mnist/*.npz` and `cifar10/*.npz`, files whose names begin with `train` or `test`,
each with arrays `images` (uint8) and `labels` (int64). `make data` fills it.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np

DOWNLOADED = ("mnist", "cifar10")
# how many images there are
SIZES = {
    ("digits", "train"): 1437,
    ("digits", "test"): 360,
    ("mnist", "train"): 60000,
    ("mnist", "test"): 10000,
    ("cifar10", "train"): 50000,
    ("cifar10", "test"): 10000,
}
_SHAPES = {"mnist": (28, 28), "cifar10": (32, 32, 3)}
_MEND = "remove it and run `make data`"
# `fingerprint` of the published sets: it does not depend on the order of the images
_FINGERPRINTS = {
    ("mnist", "train"): "54e1ab866c9484947dd4821c52bb7a43938f555d6b046be6af55247f8e6ffc64",
    ("mnist", "test"): "97b756d55950f1841ebd48df7379b9b2fc87a10d63e08d6213dad41d564e8508",
    ("cifar10", "train"): "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
    ("cifar10", "test"): "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
}


class MissingData(FileNotFoundError):
    """Image data that have not been downloaded yet."""


def iris() -> tuple[np.ndarray, np.ndarray]:
    """Fisher's Iris: 150 flowers, 4 measurements in cm, 3 species (Fisher 1936).

    Returns:
        inputs float64 (150, 4), labels int64 (150,).

    >>> [a.shape for a in iris()]
    [(150, 4), (150,)]
    """
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    return x.astype(np.float64), y.astype(np.int64)


def digits(split: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits, 8 x 8 pixels in 0..16 (Alpaydin and Kaynak 1998); other writers in the
    test split.

    Args:
        split: "train" (the first 1437), "test" (the last 360) or "all".
    Returns:
        images uint8 (n, 8, 8), labels int64 (n,).

    >>> digits("test")[0].shape
    (360, 8, 8)
    """
    from sklearn.datasets import load_digits

    _check_split("digits", split, ("train", "test", "all"))
    bunch = load_digits()
    part = {"train": slice(0, 1437), "test": slice(1437, None), "all": slice(None)}[split]
    return bunch.images[part].astype(np.uint8), bunch.target[part].astype(np.int64)


def mnist(split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """MNIST: handwritten digits, 28 x 28 grey values in 0..255 (LeCun et al. 1998).

    Args:
        split: "train" (60,000), "test" (10,000) or "all";  folder: the data folder.
    Returns:
        images uint8 (n, 28, 28), labels int64 (n,).
    Raises:
        MissingData: not downloaded; the message names the command.
        ValueError: the files do not hold MNIST.
    """
    return _downloaded("mnist", split, folder)


def cifar10(split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10: photographs of ten kinds of things, 32 x 32 RGB values in 0..255 (Krizhevsky 2009).

    Args and errors as `mnist`; train has 50,000 images, test 10,000; the order is that of the
    files.

    Returns:
        images uint8 (n, 32, 32, 3), labels int64 (n,).
    """
    return _downloaded("cifar10", split, folder)


def load(name: str, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A data set by name; see the functions of these names.

    Raises:
        ValueError: unknown name or split.

    >>> load("iris", "all", Path("data"))[0].shape
    (150, 4)
    """
    if name == "iris":
        _check_split("iris", split, ("all",))
        return iris()
    if name == "digits":
        return digits(split)
    if name in DOWNLOADED:
        return _downloaded(name, split, folder)
    raise ValueError(f"no data set {name!r}: expected iris, digits, {' or '.join(DOWNLOADED)}")


def files(name: str, folder: Path) -> list[Path]:
    """The files of a downloaded data set, sorted; empty when it is not there.

    Raises:
        ValueError: something of that name is no file.

    >>> files("mnist", Path("/nowhere"))
    []
    """
    found = sorted((Path(folder) / name).glob("t*.npz"))
    for path in found:
        if not path.is_file():
            raise ValueError(f"{path} is no file: {_MEND}")
    return found


def fingerprint(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of the sorted SHA-256 of every (image, label): the same for every order of the same
    images.

    >>> x, y = digits("test"); fingerprint(x, y) == fingerprint(x[::-1], y[::-1])
    True
    """
    each = sorted(
        hashlib.sha256(image.tobytes() + bytes([label])).digest()
        for image, label in zip(images, labels.tolist(), strict=True)
    )
    return hashlib.sha256(b"".join(each)).hexdigest()


def genuine(name: str, split: str, images: np.ndarray, labels: np.ndarray) -> bool:
    """Whether these are the published images and labels of a downloaded set, in whatever order.

    >>> genuine("mnist", "test", np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int64))
    False
    """
    return fingerprint(images, labels) == _FINGERPRINTS[name, split]


def _check_split(name: str, split: str, known: tuple[str, ...]) -> None:
    if split not in known:
        raise ValueError(f"{name} has no split {split!r}: expected {' or '.join(map(repr, known))}")


def _downloaded(name: str, split: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    _check_split(name, split, ("train", "test", "all"))
    if split == "all":
        parts = [_downloaded(name, s, folder) for s in ("train", "test")]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    found = [f for f in files(name, folder) if f.name.startswith(split)]
    if not found:
        raise MissingData(
            f"no {name} {split} data in {folder}: run `make data` (or set DATA_DIR to a folder that"
            " has them)"
        )
    parts = [_read(file, name, split) for file in found]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not genuine(name, split, x, y):
        raise ValueError(
            f"{', '.join(map(str, found))}: damaged, or not the {SIZES[name, split]} published"
            f" images ({len(x)} are there): {_MEND}"
        )
    return x, y.astype(np.int64)


def _read(file: Path, name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one file, which may hold anything: nothing of it is executed, and no
    more of it is unpacked than the published set has."""
    most = SIZES[name, split] * (math.prod(_SHAPES[name]) + 8) + 4096
    try:
        with zipfile.ZipFile(file) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > most:
            raise ValueError(f"{unpacked} bytes unpacked, and {name} {split} has at most {most}")
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["images"], arrays["labels"]
    except (
        Exception
    ) as fault:  # damaged bytes end in errors of zip, zlib, tokenize, memory and more
        raise ValueError(
            f"{file} cannot be read ({fault or type(fault).__name__}): {_MEND}"
        ) from None
    if x.dtype != np.uint8 or x.shape[1:] != _SHAPES[name]:
        raise ValueError(
            f"{file} holds images {x.dtype} {x.shape}: expected uint8 (n,"
            f" {', '.join(map(str, _SHAPES[name]))}); {_MEND}"
        )
    if (
        y.dtype.kind not in "iu"
        or y.shape != x.shape[:1]
        or y.min(initial=0) < 0
        or y.max(initial=0) > 9
    ):
        raise ValueError(
            f"{file} holds labels {y.dtype} {y.shape}: expected ({len(x)},) whole numbers 0..9;"
            f" {_MEND}"
        )
    return x, y
