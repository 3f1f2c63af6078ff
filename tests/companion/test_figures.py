"""Figures: what they must carry, and that the numbers behind them come back unchanged."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from companion import figures, records

DATA = {"x": [1.0, 2.0]}


def draw(n: int = 2) -> Figure:
    with mpl.rc_context(figures.STYLE):
        fig = Figure(layout="constrained")
        ax = fig.subplots()
        ax.plot(np.arange(n), np.random.default_rng(0).random(n), ".", rasterized=False)
    return fig


def encode(fig=None, name="loss", caption="A caption.", alt="A line.", data=DATA) -> figures.Figure:
    with mpl.rc_context(figures.STYLE):
        return figures.encode(fig or draw(), name, caption, alt, data)


@pytest.mark.parametrize(
    "words, says",
    [
        ({"name": "Fig 1"}, "name 'Fig 1': expected lower-case"),
        ({"caption": " "}, "has no caption"),
        ({"alt": ""}, "has no alt"),
        ({"data": {}}, "has no data"),
        ({"fig": Figure()}, "has no axes"),
    ],
)
def test_a_figure_says_what_it_shows(words, says) -> None:
    with pytest.raises(ValueError, match=says):
        encode(**words)


def test_it_has_its_own_paper_and_is_the_same_each_time() -> None:
    one, two = encode(), encode()
    assert one.mime == "image/svg+xml" and one.image == two.image
    assert figures.PAPER in one.image


def test_a_figure_of_many_points_becomes_a_png() -> None:
    many = encode(draw(20_000))
    assert many.mime == "image/png"
    png = base64.b64decode(many.image)
    assert png.startswith(b"\x89PNG") and len(png) < figures.MAX_SVG


def test_text_on_paper_has_contrast() -> None:
    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in mpl.colors.to_rgb(colour)
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    # 4.5 and 3: the contrasts that WCAG 2 asks of text and of graphics
    for ink, least in (
        (figures.STYLE["text.color"], 4.5),
        (figures.STYLE["xtick.color"], 4.5),
        (figures.BLUE, 3),
        (figures.RED, 3),
    ):
        assert (luminance(figures.PAPER) + 0.05) / (luminance(ink) + 0.05) >= least, ink


@pytest.mark.parametrize(
    "data, file",
    [
        (
            {
                "epoch": np.arange(3),
                "loss": torch.tensor([0.1, 1 / 3, 5e-324], dtype=torch.float64),
            },
            "loss.csv",
        ),
        ({"a": np.eye(2), "b": np.arange(3)}, "loss.npz"),
        ({"a": [1, 2], "b": [0.5]}, "loss.npz"),
        ({"name": ["x", "y"], "n": [1, 2]}, "loss.csv"),
    ],
)
def test_numbers_come_back_bit_for_bit(data, file) -> None:
    ((name, content),) = figures.numbers("loss", data).items()
    assert name == file
    back = records._arrays(name, base64.b64decode(content))
    for key, value in data.items():
        assert np.array_equal(back[key], np.asarray(value)), key


def test_too_much_data_is_refused() -> None:
    with pytest.raises(ValueError, match="figure loss has .* bytes of data: expected at most"):
        figures.numbers("loss", {"x": np.random.default_rng(0).random((1000, 1000))})


def test_npz_is_the_same_each_time() -> None:
    one, two = (figures.numbers("a", {"x": np.eye(2)}) for _ in range(2))
    assert one == two
    assert list(np.load(io.BytesIO(base64.b64decode(one["a.npz"])))) == ["x"]
