"""How every figure of the book looks, and how one travels inside an executed notebook.

A figure is drawn on an explicit near-white paper, so it reads on light and dark pages alike; its
colours are the colour-blind-safe set of Okabe and Ito. It is displayed as an image whose output
metadata carries the name, caption, alternative text and the numbers behind it, so that the notebook
alone holds everything the page needs."""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

PAPER = "#fcfcfa"
INK = "#1f2328"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY = COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#b8a800",
    "#6b7280",
)
WIDTH = 7.2  # inches: the text width of a page on a desktop
MAX_SVG = 400_000  # bytes; above, a PNG is smaller and quicker to draw
MAX_DATA = 3_000_000  # bytes of numbers behind one figure

STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "figure.figsize": (WIDTH, 3.4),
    "figure.dpi": 100,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8f98",
    "xtick.color": "#4b5159",
    "ytick.color": "#4b5159",
    "axes.grid": True,
    "grid.color": "#e3e3de",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "font.size": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "image.cmap": "viridis",
    "svg.hashsalt": "loss-landscape-companion",  # the same figure gives the same bytes
}


def use_style() -> None:
    """The book's style for every figure drawn from now on, whatever a matplotlibrc says."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcdefaults()
    mpl.rcParams.update(STYLE)
    mpl.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)


@dataclass(frozen=True)
class Figure:
    """A drawn figure with what a page needs to show it.

    Args:
        name: letters, digits and dashes, one a chapter;  caption, alt: Markdown and plain text.
        mime: "image/svg+xml" or "image/png";  image: text of the SVG, or base64 of the PNG.
        data: file name -> base64 of the numbers to download.
        size: width and height in pixels of the page.
    """

    name: str
    caption: str
    alt: str
    mime: str
    image: str
    data: Mapping[str, str]
    size: tuple[int, int]


def encode(fig: MplFigure, name: str, caption: str, alt: str, data: Mapping[str, object]) -> Figure:
    """Draw a matplotlib figure once and pack it with its words and numbers.

    Args:
        fig: a matplotlib Figure.
        data: the numbers behind it, column or array name -> array.
    Raises:
        ValueError: a bad name, no caption, no alt text, no data, too much data, or an empty figure.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f"figure name {name!r}: expected lower-case letters, digits and single dashes"
        )
    for what, text in (("caption", caption), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"figure {name} has no {what}: every figure says what it shows")
    if not fig.axes:
        raise ValueError(f"figure {name} has no axes: nothing was drawn")
    if not data:
        raise ValueError(
            f"figure {name} has no data: give the numbers behind it, data={{'epoch': ..., 'loss':"
            " ...}"
        )
    mime, image = _picture(fig)
    width, height = fig.get_size_inches() * 100
    return Figure(
        name, caption, alt, mime, image, numbers(name, data), (round(width), round(height))
    )


def _picture(fig: MplFigure) -> tuple[str, str]:
    """Its kind and its text; none where the environment variable BOOK_PICTURES is none, as in
    sweeps, which keep numbers."""
    if os.environ.get("BOOK_PICTURES") == "none":
        return "text/plain", ""
    svg = io.StringIO()
    with warnings.catch_warnings():
        # a chapter's page must not carry the drawing library's remarks; a missing glyph would be
        # seen, so it stays
        warnings.filterwarnings("error", message="Glyph .* missing")
        fig.savefig(svg, format="svg", metadata={"Date": None})
    if len(svg.getvalue()) <= MAX_SVG:
        return "image/svg+xml", svg.getvalue()
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=180, metadata={"Software": None})
    return "image/png", base64.b64encode(png.getvalue()).decode()


def numbers(name: str, data: Mapping[str, object]) -> dict[str, str]:
    """The numbers behind a figure as one file: CSV for columns of one length, npz otherwise.

    Raises:
        ValueError: more than MAX_DATA bytes.

    >>> list(numbers("loss", {"epoch": [1, 2], "loss": [0.5, 0.25]}))
    ['loss.csv']
    >>> list(numbers("eig", {"a": [1], "b": [1, 2]}))
    ['eig.npz']
    """
    arrays: dict[str, Any] = {
        k: np.asarray(v.detach().cpu() if hasattr(v, "detach") else v) for k, v in data.items()
    }
    if all(a.ndim == 1 for a in arrays.values()) and len({len(a) for a in arrays.values()}) == 1:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(arrays)
        writer.writerows(zip(*(a.tolist() for a in arrays.values()), strict=True))
        file, content = f"{name}.csv", text.getvalue().encode()
    else:
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        file, content = f"{name}.npz", packed.getvalue()
    if len(content) > MAX_DATA:
        raise ValueError(
            f"figure {name} has {len(content):,} bytes of data: expected at most {MAX_DATA:,}; thin"
            " it out"
        )
    return {file: base64.b64encode(content).decode()}
