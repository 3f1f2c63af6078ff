"""The data sets: shapes, splits, and what is said when they are missing, damaged or misnamed."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from companion import data, download


def write(folder: Path, name: str, file: str, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    np.savez(folder / name / file, images=images, labels=labels)


def fake(name: str, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    shape = {"mnist": (28, 28), "cifar10": (32, 32, 3)}[name]
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 10


@pytest.fixture
def genuine_fakes(monkeypatch) -> dict:
    """Six made-up images take the place of each published set."""
    sets = {(name, split): fake(name) for name in data.DOWNLOADED for split in ("train", "test")}
    monkeypatch.setattr(
        data, "_FINGERPRINTS", {key: data.fingerprint(*arrays) for key, arrays in sets.items()}
    )
    return sets


def test_digits_are_split_without_overlap() -> None:
    whole, train, test = (data.digits(s) for s in ("all", "train", "test"))
    assert np.array_equal(np.concatenate([train[0], test[0]]), whole[0])
    assert np.array_equal(np.concatenate([train[1], test[1]]), whole[1])
    assert (whole[0].dtype, whole[1].dtype, whole[0].max()) == (np.uint8, np.int64, 16)


def test_iris_has_fifty_flowers_a_species() -> None:
    x, y = data.load("iris", "all", Path("unused"))
    assert x.shape == (150, 4) and np.bincount(y).tolist() == [50, 50, 50]


@pytest.mark.parametrize("name", data.DOWNLOADED)
def test_a_set_in_several_files_is_put_together(name, tmp_path, genuine_fakes) -> None:
    x, y = genuine_fakes[name, "train"]
    write(tmp_path, name, "train_1.npz", x[:2], y[:2])
    write(tmp_path, name, "train_2.npz", x[2:], y[2:])
    images, labels = data.load(name, "train", tmp_path)
    assert np.array_equal(images, x) and np.array_equal(labels, y) and labels.dtype == np.int64


def test_all_is_train_then_test(tmp_path, genuine_fakes) -> None:
    for split in ("train", "test"):
        write(tmp_path, "mnist", split, *genuine_fakes["mnist", split])
    assert data.mnist("all", tmp_path)[0].shape == (12, 28, 28)


@pytest.mark.parametrize("load", [data.mnist, data.cifar10])
def test_missing_data_name_the_command(load, tmp_path) -> None:
    with pytest.raises(data.MissingData, match="run `make data`"):
        load("train", tmp_path)


def test_another_order_is_the_same_set_and_a_changed_pixel_is_not(tmp_path, genuine_fakes) -> None:
    x, y = genuine_fakes["mnist", "test"]
    write(tmp_path, "mnist", "test", x[::-1], y[::-1])
    data.mnist("test", tmp_path)
    x = x.copy()
    x[0, 0, 0] ^= 1
    write(tmp_path, "mnist", "test", x, y)
    with pytest.raises(ValueError, match="damaged, or not the"):
        data.mnist("test", tmp_path)


def test_another_shape_is_refused(tmp_path) -> None:
    write(tmp_path, "mnist", "test", np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(
        ValueError, match=r"holds images uint8 \(2, 8, 8\): expected uint8 \(n, 28, 28\)"
    ):
        data.mnist("test", tmp_path)


@pytest.mark.parametrize("name, split", [("iris", "train"), ("digits", "valid"), ("mnist", "half")])
def test_a_split_that_is_not_there_is_named(name, split, tmp_path) -> None:
    with pytest.raises(ValueError, match=f"{name} has no split '{split}'"):
        data.load(name, split, tmp_path)


def test_an_unknown_set_is_refused(tmp_path) -> None:
    with pytest.raises(
        ValueError, match="no data set 'svhn': expected iris, digits, mnist or cifar10"
    ):
        data.load("svhn", "train", tmp_path)


def test_download_fills_what_is_missing_mends_what_is_damaged_and_leaves_the_rest(
    tmp_path, genuine_fakes, capsys
) -> None:
    asked = []

    def fetch(name, split, scratch):
        asked.append((name, split))
        return genuine_fakes[name, split]

    assert len(download.fill(tmp_path, fetch)) == 4
    data.cifar10("all", tmp_path)
    write(tmp_path, "mnist", "train", *fake("mnist", 2))
    asked.clear()
    assert [p.name for p in download.fill(tmp_path, fetch)] == ["train.npz"]
    assert asked == [("mnist", "train")]
    data.mnist("train", tmp_path)
    assert "mnist test: already in" in capsys.readouterr().out


def test_a_download_that_is_something_else_is_refused_and_not_kept(tmp_path, genuine_fakes) -> None:
    with pytest.raises(ValueError, match="mnist train is not the published set"):
        download.fill(tmp_path, lambda name, split, scratch: fake(name, 3))
    assert not list(tmp_path.rglob("*.npz"))


def spoil_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(bytes(content))


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def spoil_pickle(path: Path) -> None:
    np.savez(path, images=np.array([{"a": 1}] * 6, dtype=object), labels=np.arange(6))


def spoil_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images.npy", bytes(9 * 10**6))


def arrays(**changed: np.ndarray):
    def spoil(path: Path) -> None:
        x, y = fake("mnist")
        np.savez(
            path,
            **{k: v for k, v in {"images": x, "labels": y, **changed}.items() if v is not None},
        )

    return spoil


X, Y = fake("mnist")
SPOILT = {
    "truncated": (spoil_truncate, "cannot be read"),
    "empty": (lambda p: p.write_bytes(b""), "cannot be read"),
    "text": (lambda p: p.write_text("not found\n"), "cannot be read"),
    "bit-flipped": (spoil_flip, "cannot be read|damaged"),
    "a folder": (spoil_folder, "is no file"),
    "pickled objects": (spoil_pickle, "cannot be read"),
    "a zip bomb": (spoil_bomb, "bytes unpacked"),
    "no labels": (arrays(labels=None), "cannot be read"),
    "nan": (arrays(images=np.full(X.shape, np.nan)), "holds images float64"),
    "another shape": (arrays(images=X[:, :8]), "expected uint8"),
    "another dtype": (arrays(images=X.astype(np.int32)), "holds images int32"),
    "too few labels": (arrays(labels=Y[:3]), "holds labels"),
    "labels of floats": (arrays(labels=Y.astype(float)), "holds labels float64"),
    "labels beyond 9": (arrays(labels=Y + 300), "whole numbers 0..9"),
    "another image": (arrays(images=X ^ 1), "damaged, or not the"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_damaged_file_is_named_with_what_mends_it(fault, tmp_path, genuine_fakes) -> None:
    spoil, says = SPOILT[fault]
    path = tmp_path / "mnist" / "test.npz"
    write(tmp_path, "mnist", "test", *genuine_fakes["mnist", "test"])
    spoil(path)
    with pytest.raises(ValueError, match=says) as caught:
        data.load("mnist", "test", tmp_path)
    assert str(path) in str(caught.value) and "run `make data`" in str(caught.value)


def test_a_bit_flipped_anywhere_is_noticed(tmp_path, genuine_fakes) -> None:
    write(tmp_path, "mnist", "test", *genuine_fakes["mnist", "test"])
    path = tmp_path / "mnist" / "test.npz"
    whole = path.read_bytes()
    refused = 0
    for bit in np.random.default_rng(1).integers(0, 8 * len(whole), 60).tolist():
        path.write_bytes(
            whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :]
        )
        try:
            x, _ = data.load("mnist", "test", tmp_path)
            assert data.fingerprint(x, np.arange(6)) == data.fingerprint(
                *genuine_fakes["mnist", "test"]
            )
        except ValueError as refusal:
            refused += str(path) in str(refusal)
    assert refused >= 50  # the others hit what a zip does not need


@pytest.mark.parametrize(
    "fault", [OSError("<urlopen error>"), RuntimeError("File not found or corrupted.")]
)
def test_an_interrupted_download_says_what_to_do_and_keeps_what_is_whole(
    fault, tmp_path, genuine_fakes, monkeypatch
) -> None:
    def broken(*args, **words):
        raise fault

    write(tmp_path, "mnist", "train", *genuine_fakes["mnist", "train"])
    sets = SimpleNamespace(MNIST=broken, CIFAR10=broken)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=sets))
    with pytest.raises(
        ValueError, match="the download of mnist test failed .*run `make data` again"
    ):
        download.fill(tmp_path)
    assert [p.name for p in tmp_path.rglob("*.*")] == ["train.npz"]
    data.load("mnist", "train", tmp_path)


def test_a_folder_in_the_place_of_a_file_is_left_to_the_user(tmp_path, genuine_fakes) -> None:
    (tmp_path / "mnist" / "train.npz").mkdir(parents=True)
    with pytest.raises(ValueError, match="train.npz is no file: remove it"):
        download.fill(tmp_path, lambda name, split, scratch: genuine_fakes[name, split])
