"""What merging is compared with: magnitude pruning, Torch-Pruning's criteria, and lottery-ticket
rewinding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.utils import prune

from lib.nets import MLP, Loss, from_sequential, mse, to_sequential

# Criteria of Torch-Pruning that rank the neurons of a dense net, and whether they need gradients.
CRITERIA = {
    "GroupMagnitudeImportance": False,
    "FPGMImportance": False,
    "LAMPImportance": False,
    "RandomImportance": False,
    "GroupTaylorImportance": True,
    "GroupHessianImportance": True,
}


@dataclass(frozen=True, eq=False)
class Masked:
    """A net with weights pruned to zero, and the mask of zeros and ones that says which."""

    net: MLP
    mask: MLP

    @property
    def n_parameters(self) -> int:
        """The number of parameters that are left."""
        return sum(int((m != 0).sum()) for m in self.mask.parameters())


def magnitude_prune(net: MLP, keep: int) -> Masked:
    """The `keep` weights of largest |w| in all layers together; biases stay
    (`torch.nn.utils.prune`, global, unstructured).

    Args:
        net: one net.
        keep: number of weights that stay, 1..their number.
    Raises:
        ValueError: keep out of range, or a batch of nets.
    Source: (Han et al. 2015), as implemented by `torch.nn.utils.prune.global_unstructured`.

    >>> net = MLP((torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0, 0.5]])))
    >>> magnitude_prune(net, 2).net.weights
    (tensor([[0.],
            [3.]]), tensor([[2., 0.]]))
    """
    total = sum(w.numel() for w in net.weights)
    if isinstance(keep, bool) or not isinstance(keep, int) or not 1 <= keep <= total:
        raise ValueError(f"keep is {keep!r}: expected a number of weights in 1..{total}")
    module = to_sequential(net)
    places = [(m, "weight") for m in module if isinstance(m, nn.Linear)]
    if keep < total:
        prune.global_unstructured(places, prune.L1Unstructured, amount=total - keep)
        masks = [m.weight_mask for m, _ in places]
        for m, name in places:
            prune.remove(m, name)
    else:
        masks = [torch.ones_like(w) for w in net.weights]
    ones = [None if b is None else torch.ones_like(b) for b in net.biases]
    return Masked(from_sequential(module), MLP(masks, ones, net.activation))


def rewind(start: MLP, trained: MLP, keep: int) -> Masked:
    """A lottery ticket: the mask of the trained net's largest weights on the parameters of an
    earlier net.

    Args:
        start: the net at initialisation, or a few steps on (late rewinding);  trained: the same net
            after training.
        keep: number of weights that stay.
    Raises:
        ValueError: nets of different shapes, or keep out of range.
    Source: (Frankle and Carbin 2019; Frankle et al. 2020 for late rewinding).

    >>> start, trained = (MLP((torch.tensor([[a]]), torch.tensor([[b]]))) for a, b in ((0.1, 0.2), (2.0, 1.0)))
    >>> rewind(start, trained, 1).net.weights
    (tensor([[0.1000]]), tensor([[0.]]))
    """  # noqa: E501
    if start.widths != trained.widths:
        raise ValueError(f"start is {start!r}, trained {trained!r}: expected one shape")
    mask = magnitude_prune(trained, keep).mask
    weights = [w * m for w, m in zip(start.weights, mask.weights, strict=True)]
    return Masked(MLP(weights, start.biases, start.activation), mask)


def torch_pruning(
    net: MLP,
    widths: tuple[int, ...],
    criterion: str,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    seed: int = 0,
) -> MLP:
    """The net with whole neurons removed by Torch-Pruning, ranked by one of its criteria.

    Args:
        net: one net;  widths: (m_0, ..., m_L) of the result, hidden ones in 1..those of the net.
        criterion: one of `CRITERIA`.
        x, y: the sample whose gradients the Taylor and Hessian criteria use;  loss: a mean over
            samples.
        seed: of the random criterion.
    Raises:
        ValueError: an unknown criterion, or widths that cannot be reached.
    Source: (Fang et al. 2023), `torch-pruning` on PyPI.
    """
    if criterion not in CRITERIA:
        raise ValueError(
            f"criterion {criterion!r} is unknown: expected one of {', '.join(CRITERIA)}"
        )
    fits = len(widths) == len(net.widths) and all(
        1 <= a <= b for a, b in zip(widths[1:-1], net.widths[1:-1], strict=True)
    )
    if not fits or (widths[0], widths[-1]) != (net.widths[0], net.widths[-1]):
        raise ValueError(
            f"widths {tuple(widths)} cannot be reached by removing hidden neurons of {net!r}"
        )
    module = to_sequential(net)
    linear = [m for m in module if isinstance(m, nn.Linear)]
    importance = getattr(tp.importance, criterion)()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # half a neuron more, because Torch-Pruning rounds what it keeps down, 0.999... to 0
        ratios = {
            m: max(0.0, 1 - (k + 0.5) / m.out_features)
            for m, k in zip(linear[:-1], widths[1:-1], strict=True)
        }
        pruner = tp.pruner.BasePruner(
            module,
            x[:1],
            importance=importance,
            pruning_ratio=0.0,
            pruning_ratio_dict=ratios,
            ignored_layers=[linear[-1]],
        )
        if CRITERIA[criterion]:
            _gradients(module, criterion == "GroupHessianImportance", x, y, loss)
        pruner.step()
    found = from_sequential(module)
    if found.widths != tuple(widths):
        raise ValueError(f"{criterion} gave {found!r}: expected widths {tuple(widths)}")
    return found


def _gradients(module: nn.Sequential, squared: bool, x: Tensor, y: Tensor, loss: Loss) -> None:
    """Fill .grad with the gradient of the loss, or with the mean over the samples of its squared
    entries.

    Torch-Pruning 1.6.1 meant to do the latter by itself, but its `accumulate_grad` overwrites all
    samples but the last. A sample's gradient of W is the outer product of error and feature, so the
    squares need no loop over samples."""
    features, errors = [], []
    z = x
    for m in module:
        if isinstance(m, nn.Linear):
            features.append(z.detach())
        z = m(z)
        if isinstance(m, nn.Linear):
            errors.append(z)
    slopes = torch.autograd.grad(loss(z, y), errors)  # of the mean: 1 / n of each sample's
    for m, f, e in zip(
        (m for m in module if isinstance(m, nn.Linear)), features, slopes, strict=True
    ):
        m.weight.grad = len(x) * e.square().T @ f.square() if squared else e.T @ f
        if m.bias is not None:
            m.bias.grad = len(x) * e.square().sum(0) if squared else e.sum(0)
