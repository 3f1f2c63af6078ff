"""Training throughput of narrow VGGs: images a second of `lib.train.sgd.train` against a plain
PyTorch loop of the same steps.

The plain loop is what one writes first: a `DataLoader` over a dataset that crops and flips image by
image with torchvision, `nn.Sequential`, SGD with Nesterov momentum, and the l_{1,2} penalty summed
layer by layer. Images are random: the time does not depend on them. Times are seconds an image.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2

from benchmarks.timing import Contender, Row, compare, interleave, peak_mib
from lib.nets import VGG, Chain, initialise
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.training import Execution, train

WIDTHS, BATCH, STEPS = (1 / 16, 1 / 8), 64, 8
PLAIN, EVERY = "plain PyTorch loop", "plain loop without augmentation"


def images(n: int = BATCH * STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 32, 32, generator=g), torch.randint(10, (n,), generator=g)


def products(net: Chain, x: torch.Tensor) -> list[float]:
    """Multiply-adds of every joint for one image, without those by the zeros of the padding."""
    counts = []
    with torch.no_grad():
        for joint, f in zip(net.joints, net.features(x[:1]), strict=False):
            ones = copy.deepcopy(joint)
            ones.weight.fill_(1.0)
            ones.bias.zero_()
            counts.append(float(ones(torch.ones_like(f)).sum()))
    return counts


class Augmented(torch.utils.data.Dataset):
    """Images with a random crop and flip each time they are asked for."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, augment: bool) -> None:
        self.x, self.y = x, y
        self.change = (
            v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()])
            if augment
            else lambda x: x
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.change(self.x[i]), self.y[i]


def plain(net: VGG, x: torch.Tensor, y: torch.Tensor, augment: bool, device: str):
    """One epoch a call, as one would write it without a library."""
    net, parts = copy.deepcopy(net), []
    for joint, act in zip(net.joints, [*net.activations, nn.Identity()], strict=True):
        parts += [joint, act]
    model, recipe = nn.Sequential(*parts).to(device).train(), Recipe()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, nesterov=True, foreach=False
    )
    loader = torch.utils.data.DataLoader(Augmented(x, y, augment), batch_size=BATCH, shuffle=True)
    loss = nn.CrossEntropyLoss()

    def epoch(amount: int) -> None:
        del amount
        for batch, labels in loader:
            optimizer.zero_grad()
            penalty = sum(plain_penalty(joint) for joint in net.joints)
            (loss(model(batch.to(device)), labels.to(device)) + recipe.weight * penalty).backward()
            optimizer.step()

    return epoch


def plain_penalty(joint: nn.Module) -> torch.Tensor:
    """mean_k [ sqrt(m_in) mean_j,a,b |w_jk(a, b)| ]^2, an input at a time over a list of kernel
    slices."""
    w = joint.weight
    return (
        w.shape[1] * (w.abs().flatten(2).mean(2) if w.dim() > 2 else w.abs()).mean(0).pow(2).mean()
    )


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """Rows of seconds an image, and images a second as facts."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    facts: dict[str, object] = {}
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    facts["devices measured"] = ", ".join(devices) + (
        "" if len(devices) == 2 else " (no CUDA device is visible)"
    )
    x, y = images()
    for device in devices:
        for width in WIDTHS if device == "cpu" else (*WIDTHS, 1.0):
            net = initialise(VGG(width=width), generator=0)
            recipe = Recipe(epochs=1, batch=BATCH)
            execution = Execution(
                device=device, mixed=device == "cuda", compiled=device == "cuda", channels_last=True
            )
            name = f"VGG-16 of width {width:g}, minibatches of {BATCH}, {device}"
            jobs = {
                "ours": Contender(
                    lambda _, n=net, r=recipe, e=execution: train([n], x, y, r, execution=e), len(x)
                ),
                PLAIN: Contender(plain(net, x, y, True, device), len(x)),
                EVERY: Contender(plain(net, x, y, False, device), len(x)),
            }
            counts = products(
                net, x
            )  # forward, and back to weights and, but for the first joint, to inputs
            times = interleave(
                jobs, max(3, rounds // 3)
            )  # an epoch of `amount` images takes about a second
            rows += compare(
                name, times, "ours", {PLAIN: None, EVERY: None}, 3 * sum(counts) - counts[0]
            )
            for who in ("ours", PLAIN, EVERY):
                facts[f"{name}: images a second, {who}"] = float(1 / np.median(times[who]))
    setup = (
        "from benchmarks.vgg import *\nx, y = images(); net = initialise(VGG(width=1 / 8), generator=0);"  # noqa: E501
        " torch.set_num_threads(1)"
    )
    call = (
        f"train([net], x, y, Recipe(epochs=1, batch={BATCH}),"
        " execution=Execution(channels_last=True))"
    )
    facts[f"peak MiB of training width 0.125 with minibatches of {BATCH}"] = peak_mib(setup, call)
    return rows, facts
