"""The exact joint against Algorithm 1 on the same task: at least 30 times faster, and no higher a
matching loss.

Two VGG-16 of width 1/16 are trained for an epoch on smooth random images; one is grafted onto the
other. Algorithm 1 takes the authors' six epochs of 780 minibatches of 64, on the same images as the
exact solution. Its step is timed alone and scaled to all 4,680; its losses come from complete runs
at the authors' two rates, the better of which counts. Where the exact solution takes every image
that Algorithm 1 sees in an epoch, the ratio is that in the facts."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.operations import multiply_adds
from benchmarks.timing import Contender, Row, compare, interleave
from lib.graft import JointTraining, graft, graft_trained, matching_loss
from lib.nets import VGG, initialise
from lib.train.sgd import Recipe, train

IMAGES, BATCH, STEPS, TARGET = 4096, 64, 6 * 780, 30.0
CASES = {2: (1e-3,), 6: (1e-3, 1e-4)}  # layer: rates of the complete runs
RIVAL = "Algorithm 1, 4,680 steps"


def problem() -> tuple[VGG, VGG, Tensor]:
    """Two trained nets and images with structure, so that channels differ: smooth random fields of
    ten kinds."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(10, 3, 8, 8, generator=generator)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator)
    coarse = kinds[labels] + torch.randn(IMAGES, 3, 8, 8, generator=generator)
    images = torch.nn.functional.interpolate(
        coarse, size=(32, 32), mode="bilinear", align_corners=False
    )
    nets = [initialise(VGG(width=1 / 16), generator=seed) for seed in (0, 1)]
    one, two = train(nets, images, labels, Recipe(epochs=1, weight=1 / 16)).nets
    return one, two, images


def rival(one: VGG, two: VGG, layer: int, images: Tensor, rate: float, steps: int):
    """So many steps of Algorithm 1, on the images as they are, in epochs of as many minibatches as
    there are."""
    each = len(images) // BATCH
    epochs = -(-steps // each)
    settings = JointTraining(epochs=epochs, steps=each, batch=BATCH, lr=rate, pad=None)
    return graft_trained(one, two, images, layer, settings, generator=0)


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The table and, as facts, the matching losses and the times of the complete runs."""
    torch.set_num_threads(threads)
    one, two, images = problem()
    rows: list[Row] = []
    facts: dict[str, object] = {}
    for layer, rates in CASES.items():
        jobs = {
            "ours": Contender(lambda _, at=layer: graft(one, two, images, at), 1),
            # a step costs the same whatever the number of images; few of them keep the final
            # measurement cheap
            RIVAL: Contender(
                lambda n, at=layer: rival(one, two, at, images[:BATCH], 1e-3, n), 30, 1 / STEPS
            ),
        }
        operations = multiply_adds(lambda at=layer: graft(one, two, images, at))
        name = f"joint behind layer {layer}, {IMAGES} images"
        found = compare(name, interleave(jobs, rounds), "ours", {RIVAL: TARGET}, operations)
        rows += found
        exact = matching_loss(graft(one, two, images, layer), two, images)
        facts[f"layer {layer}, matching loss, exact"] = exact
        for rate in rates:
            start = time.perf_counter()
            loss = rival(one, two, layer, images, rate, STEPS).loss
            facts[f"layer {layer}, matching loss, Algorithm 1 at {rate:g}"] = loss
            facts[f"layer {layer}, seconds of that run"] = time.perf_counter() - start
            if exact > loss:
                raise AssertionError(
                    f"layer {layer}: the exact joint has loss {exact}, Algorithm 1 {loss}"
                )
        facts[f"layer {layer}, ratio on {STEPS // 6 * BATCH:,} images"] = (
            found[0].ratio * IMAGES / (STEPS // 6 * BATCH)
        )
    return rows, facts
