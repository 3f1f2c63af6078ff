"""The data sets: shapes, splits, and what is said when they are missing, damaged or misnamed."""

from __future__ import annotations

from pathlib import Path

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
    with pytest.raises(ValueError, match="damaged or incomplete"):
        data.mnist("test", tmp_path)


def test_another_shape_is_refused(tmp_path) -> None:
    write(tmp_path, "mnist", "test", np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"holds uint8 \(2, 8, 8\): expected uint8 \(n, 28, 28\)"):
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
