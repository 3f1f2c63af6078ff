"""Drawings of how the kernels lay out their work, for the chapter on them."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from companion.figures import BLUE, COLOURS, GREY, ORANGE, PURPLE, RED, SKY
from companion.panels import arrow, boxes, drawing, word


def lanes(ax: Axes, title: str, across: str, down: str, colour: str) -> None:
    """Three registers of eight lanes each: what stands across, what down."""
    for j in range(3):
        boxes(ax, [(lane, -j) for lane in range(8)], colour, alpha=0.55 if j == 0 else 0.35)
        word(ax, -0.2, 0.4 - j, f"{down} {j + 1}", ha="right")
    for lane in range(8):
        word(ax, lane + 0.46, 1.0, str(lane + 1), va="baseline")
    word(ax, 4, 1.6, f"{across} (lane)", va="baseline")
    ax.plot([0, 7.9], [-2.9, -2.9], color=GREY, lw=1)
    passing = (
        "samples $x_1, x_2, \\ldots$ pass two by two,\neach number copied into all eight lanes"
    )
    word(ax, 4, -3.6, passing)
    drawing(ax, (-2.4, 8.4), (-4.4, 2.1), title)


def warp(ax: Axes) -> None:
    """A warp of 32 threads: eight nets across, four samples down."""
    for net in range(8):
        for s in range(4):
            boxes(ax, [(net, 3 - s)], SKY if s % 2 else BLUE, size=(0.9, 0.85))
            word(ax, net + 0.45, 3.42 - s, f"t{4 * net + s}", 6.5)
        word(ax, net + 0.45, 4.1, f"net {net + 1}", 7.5, va="baseline")
    for s in range(4):
        word(ax, -0.15, 3.42 - s, f"sample $i+{s}$", ha="right")
    arrow(ax, (-1.9, 3.9), (-1.9, 0))
    word(ax, -2.0, 2, "blocks of\nsamples", ha="right")
    aside: dict[str, Any] = {"ha": "left", "va": "top"}
    kept = "in the registers of each thread:\n$w, b, a$ of its net,\nits share of the gradient"
    word(ax, 8.4, 3.4, kept, **aside)
    word(ax, 8.4, 1.2, "once a step: sums over the\nfour threads of a net", color=RED, **aside)
    word(ax, 8.4, 0.1, "once a record: losses and\niterates go to memory", color=PURPLE, **aside)
    drawing(ax, (-3.6, 13), (-1.2, 4.6))


def vgg(ax: Axes) -> None:
    """Memory of four pixels in the two layouts."""
    layouts = {"channels last: a pixel together": "rgb" * 4, "channels first": "rrrrggggbbbb"}
    for down, (title, letters) in zip((0, 2), layouts.items(), strict=True):
        colours = [COLOURS["rgb".index(letter)] for letter in letters]
        boxes(ax, [(place, down) for place in range(12)], colours)
        for place, letter in enumerate(letters):
            word(ax, place + 0.46, down + 0.4, letter, 7)
        word(ax, 0, down + 1.0, title, ha="left", va="baseline")
    drawing(ax, (-0.3, 12.3), (-0.5, 3.6), "VGG training: memory\nof four pixels")


def conv_gram(ax: Axes) -> None:
    """The Gram matrix of the patches of one channel: entries of one shift are nearly equal."""
    draws = torch.Generator().manual_seed(0)
    image = torch.nn.functional.avg_pool2d(torch.randn(200, 1, 14, 14, generator=draws), 3, 1)
    patches = torch.nn.functional.unfold(image, 3, padding=1)
    ax.imshow(torch.einsum("nai,nbi->ab", patches, patches).numpy(), cmap="Blues")
    label = "pixel of the kernel"
    title = "patch Gram: equal shifts,\nnearly equal entries"
    ax.set(title=title, xlabel=label, ylabel=label)
    ax.grid(False)


def grouping(ax: Axes) -> None:
    """Cosines of forty vectors; the red block is one matrix product."""
    draws = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 12, generator=draws)
    group = torch.randint(6, (40,), generator=draws)
    near = centres[group] + 0.25 * torch.randn(40, 12, generator=draws)
    v = torch.nn.functional.normalize(near, dim=1)
    ax.imshow(torch.tril(v @ v.T).numpy(), cmap="Blues", vmin=0, vmax=1)
    ax.add_patch(Rectangle((-0.5, 19.5), 30, 10, fill=False, edgecolor=RED, lw=1.6))
    title = "grouping: cosines,\na block at a time"
    ax.set(title=title, xlabel="vectors placed so far", ylabel="vector")
    ax.grid(False)


def graft(ax: Axes) -> None:
    """A joint layer from the features of one net to what the other wants."""
    shades = {2: [0.75] * 3 + [0.2] * 3, 0: [0.2] * 4 + [0.75] * 2}
    for row, colour in ((2, BLUE), (0, ORANGE)):
        boxes(ax, [(k, row) for k in range(6)], colour, size=(0.8, 0.8), alpha=shades[row])
    boxes(ax, [(3, 1)], RED, size=(0.8, 0.8), alpha=0.7)
    for start, end in (
        ((2.8, 2.3), (3.3, 1.85)),
        ((3.4, 0.85), (3.4, 0.98)),
        ((3.85, 1.2), (4.3, 0.85)),
    ):
        arrow(ax, start, end)
    left = {"ha": "left", "va": "baseline"}
    word(ax, -0.1, 3.0, "net 1: features $u$", 7.5, **left)
    word(ax, -0.1, -0.5, "net 2: wanted $g$", 7.5, **left)
    word(ax, 4.0, 1.35, "sums of $uu^\\top$, $gu^\\top$", 7.5, color=RED, **left)
    drawing(ax, (-0.3, 6.6), (-0.9, 3.5), "grafting: one pass,\none linear system")


def mixture(ax: Axes) -> None:
    """Channels of two parents, and those drawn for their mixture."""
    picked = (0, 2, 3, 6, 7)
    colours = [BLUE if k < 4 else ORANGE for k in range(8)]
    shades = [0.75 if k in picked else 0.25 for k in range(8)]
    boxes(ax, [(k, 2) for k in range(8)], colours, size=(0.85, 0.8), alpha=shades)
    drawn = [(1.5 + place, 0.0) for place in range(5)]
    boxes(ax, drawn, [colours[k] for k in picked], size=(0.85, 0.8), alpha=0.75)
    for place, k in enumerate(picked):
        arrow(ax, (k + 0.42, 1.95), (1.9 + place, 0.9))
    word(ax, 0, 2.95, "two parents", 7.5, ha="left", va="baseline")
    word(ax, 0, -0.5, "their mixture", 7.5, ha="left", va="baseline")
    drawing(ax, (-0.3, 8.2), (-0.8, 3.5), "mixture: channels drawn,\n$\\gamma = 0.6$")


def deep(ax: Axes) -> None:
    """Samples in the lanes, neurons in the rows."""
    for j in range(4):
        boxes(ax, [(lane, 3 - j) for lane in range(8)], SKY, alpha=0.55 if j == 0 else 0.35)
        word(ax, -0.2, 3.4 - j, f"neuron {j + 1}", 7, ha="right")
    word(ax, 4, 4.2, "eight samples (lanes)", 7.5, va="baseline")
    drawing(ax, (-3, 8.2), (-0.3, 4.8), "deeper nets:\nsamples side by side")


# benchmark -> its picture
PICTURES = {
    "conv_gram": conv_gram,
    "graft": graft,
    "grouping": grouping,
    "mixture": mixture,
    "deep": deep,
    "vgg": vgg,
}
