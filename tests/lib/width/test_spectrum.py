"""The spectrum after an equal split, predicted from two small matrices, against the Hessian of the
wide net."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import nets, neurons, samples

from lib.critical import plant
from lib.curvature import NoSpectralGap, hessian, inertia
from lib.nets import cross_entropy, flatten, gradient, init, mse, unflatten
from lib.width import split_inertia, split_into, split_spectrum

few = settings(max_examples=30, deadline=None, derandomize=True)
any_net = nets(depths=(2, 3), widest=4)


def stretched(net, layer, neuron, copies):
    """Diagonal of D: 1 / sqrt(k) at the neuron's input weights and bias, sqrt(k) at its output
    weights."""
    d = net.map(torch.ones_like)
    d.weights[layer - 1][..., neuron, :] = copies**-0.5
    if d.biases[layer - 1] is not None:
        d.biases[layer - 1][..., neuron] = copies**-0.5
    d.weights[layer][..., neuron] = copies**0.5
    return flatten(d)


@few
@given(st.data(), any_net, st.integers(2, 4))
def test_spectrum_of_an_equal_split_at_any_parameters(data, net, copies):
    layer, s = data.draw(neurons(net))
    x, y = samples(net, 7)
    d = stretched(net, layer, s, copies)
    kept = torch.linalg.eigvalsh(d.unsqueeze(-1) * hessian(net, x, y) * d)
    added = torch.linalg.eigvalsh(split_spectrum(net, x, y, mse, layer, s).block(copies))
    expected = torch.cat([kept, *[added] * (copies - 1)]).sort().values
    found = torch.linalg.eigvalsh(hessian(split_into(net, layer, s, [1 / copies] * copies), x, y))
    # eigenvalues of symmetric matrices move by no more than the rounding of the matrix
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-11 * (1 + float(expected.abs().max()))
    )


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
def test_each_copy_adds_rank_c_negative_eigenvalues_and_those_of_the_bend_on_its_kernel(outputs):
    draws = torch.Generator().manual_seed(outputs)
    x = torch.randn(60, 4, generator=draws, dtype=torch.float64)
    net = init((4, 3, outputs), "sigmoid", generator=draws)
    y = plant(net, x, draws, residual=0.5)
    found = split_spectrum(net, x, y, mse, 1, 1)
    assert (
        float((found.slope @ net.weights[1][:, 1]).abs().max()) < 1e-14
    )  # C a = 0 at a critical point
    left, values, _ = torch.linalg.svd(found.slope)
    rank = int((values > 1e-12).sum())
    assert rank == min(5, outputs - 1)
    kernel = left[:, rank:]
    bend = torch.linalg.eigvalsh(kernel.T @ found.bend @ kernel)
    counts = found.inertia().counts
    assert counts == (rank + int((bend < 0).sum()), outputs - rank, rank + int((bend > 0).sum()))
    narrow = inertia(hessian(net, x, y)).counts
    for copies in (2, 3):
        wide = inertia(hessian(split_into(net, 1, 1, [1 / copies] * copies), x, y)).counts
        assert wide == tuple(n + (copies - 1) * c for n, c in zip(narrow, counts, strict=True))


def test_batches_and_other_losses():
    draws = torch.Generator().manual_seed(3)
    x = torch.randn(12, 2, generator=draws, dtype=torch.float64)
    y = torch.arange(12) % 3
    many = init((2, 3, 4, 3), batch=(2, 2), generator=draws, bias=False)
    found = split_spectrum(many, x, y, cross_entropy, 2, 1)
    assert found.bend.shape == (2, 2, 3, 3) and found.slope.shape == (2, 2, 3, 3)
    for i, j in ((0, 0), (1, 0)):
        one = split_spectrum(many[i, j], x, y, cross_entropy, 2, 1)
        torch.testing.assert_close(found.block(3)[i, j], one.block(3), rtol=1e-12, atol=1e-15)
    wide = split_into(many[0, 1], 2, 1, [0.5, 0.5])
    # along a direction in which the copies part, the Hessian of the wide net has the predicted
    # curvature
    v = torch.randn(6, generator=draws, dtype=torch.float64)
    parting = unflatten(torch.zeros(wide.n_parameters, dtype=torch.float64), wide)
    for copy, sign in ((1, 1.0), (4, -1.0)):
        parting.weights[1][copy] = sign * v[:3] / 2**0.5
        parting.weights[2][:, copy] = sign * v[3:] / 2**0.5
    u, h = flatten(parting), hessian(wide, x, y, cross_entropy)
    assert float(u @ h @ u) == pytest.approx(float(v @ found.block(2)[0, 1] @ v), rel=1e-10)


def drawn(draws, below):
    return int(torch.randint(below, (1,), generator=draws))


def shares_case(seed):
    """A net of any depth, activation and width, at a planted point or not, and shares of any
    sign."""
    draws = torch.Generator().manual_seed(seed)
    widths = [1 + drawn(draws, 3) for _ in range(3 + drawn(draws, 2))]
    net = init(widths, ["tanh", "sigmoid", "elu"][seed % 3], std=0.8, generator=draws)
    x = torch.randn(30, widths[0], generator=draws, dtype=torch.float64)
    planted = seed % 2 == 0
    free = torch.randn(30, widths[-1], generator=draws, dtype=torch.float64)
    y = plant(net, x, draws, residual=0.7) if planted else free
    layer = 1 + drawn(draws, len(widths) - 2)
    shares = (
        torch.randn(2 + drawn(draws, 3), generator=draws, dtype=torch.float64) * 4
    ).round() / 4
    shares[0] = 1 - shares[1:].sum()
    return net, x, y, layer, drawn(draws, widths[layer]), shares.tolist(), planted


def test_inertia_of_any_shares_is_that_of_the_wide_hessian():
    agree = 0
    for seed in range(60):
        net, x, y, layer, s, shares, planted = shares_case(seed)
        writes = float(net.weights[layer][:, s].norm())
        left = float(flatten(gradient(net, x, y)).abs().sum()) / writes if planted else 0.0
        try:
            added = split_inertia(net, x, y, mse, layer, s, shares, uncertainty=left)
            before = inertia(hessian(net, x, y), uncertainty=left).counts
            wide = split_into(net, layer, s, shares)
            after = inertia(hessian(wide, x, y), uncertainty=left).counts
        except NoSpectralGap:  # rounding decides: no count is better than a wrong one
            continue
        assert tuple(a + b for a, b in zip(before, added, strict=True)) == after, seed
        agree += 1
    assert agree >= 40


@pytest.mark.parametrize("sigma", ["relu", "identity", "leaky_relu"])
def test_a_bend_that_is_zero_adds_zeros(sigma):
    draws = torch.Generator().manual_seed(2)
    net = init((2, 3, 2), sigma, generator=draws)
    x = torch.randn(20, 2, generator=draws, dtype=torch.float64)
    y = torch.randn(20, 2, generator=draws, dtype=torch.float64)
    before = inertia(hessian(net, x, y)).counts
    for shares in ((0.5, 0.5), (2.0, -1.0), (1.0, 0.0)):
        added = split_inertia(net, x, y, mse, 1, 1, shares)
        after = inertia(hessian(split_into(net, 1, 1, shares), x, y)).counts
        assert added == (2, 1, 2) and after == tuple(
            a + b for a, b in zip(before, added, strict=True)
        )


def test_what_cannot_be_is_refused():
    net, x = init((1, 2, 1), generator=0), torch.ones(3, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="layer 2"):
        split_spectrum(net, x, x, mse, 2, 0)
    with pytest.raises(ValueError, match="copies is 1: expected an int >= 2"):
        split_spectrum(net, x, x, mse, 1, 0).block(1)
    with pytest.raises(ValueError, match="targets"):
        split_spectrum(net, x, x[:2], mse, 1, 0)
    with pytest.raises(ValueError, match="add up to 0.7: expected 1"):
        split_inertia(net, x, x, mse, 1, 0, [0.5, 0.2])
    with pytest.raises(ValueError, match="batch"):
        split_inertia(init((1, 2, 1), batch=(2,), generator=0), x, x, mse, 1, 0, [0.5, 0.5])
