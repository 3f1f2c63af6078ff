"""Certificates: what is measured, what is promised, and how it reads."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import alphas, nets, neurons, samples
from torch import nn

from lib.certificate import certify, certify_modules, module_gradient
from lib.certificate.modules import module_hessian
from lib.certificate.zeros import promised_zeros
from lib.critical import plant
from lib.curvature import NoSpectralGap, hessian, inertia
from lib.nets import MLP, cross_entropy, flatten, gradient, init, mse, to_sequential
from lib.width import embedding, random_embedding, split, split_channel
from lib.width.constructions import three_fold


def critical_case(widths=(2, 3, 2, 1), name="tanh", residual=0.1, seed=0):
    g = torch.Generator().manual_seed(seed)
    net = init(widths, name, generator=g)
    x = torch.randn(net.n_parameters + 30, widths[0], generator=g, dtype=torch.float64)
    return net, x, plant(net, x, g, residual=residual)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data(), nets(widest=4), alphas)
def test_every_identity_holds_for_splittings_of_any_net(data, net, alpha):
    layer, s = data.draw(neurons(net))
    x, y = samples(net, 8)
    found = certify(
        net,
        x,
        y,
        after=embedding(net, [(layer, s, alpha)]),
        spectrum=lambda h: inertia(h, require=False),
    )
    scale = 1e-11 * (1 + abs(alpha)) ** 2 * (1 + float(found.risk_before))
    assert float(found.output_gap) < scale
    assert float(found.risk_gap) < scale
    assert float(found.transport_gap) < scale
    assert float(found.compression_gap) < scale * 10
    assert float(found.intertwining_gap) < scale * 10
    assert found.parameters == (net.n_parameters, split(net, layer, s, alpha).n_parameters)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_claim_a4_one_zero_mode_a_splitting(count):
    net, x, y = critical_case((1, 2, 1))
    found = certify(net, x, y, after=embedding(net, [(1, 0, 0.3)] * count))
    assert int(found.inertia_before.zero) == 0
    assert int(found.predicted_zeros) == int(found.found_zeros) == count
    assert bool(found.inertia_kept)


@pytest.mark.parametrize("kind", ["splits", "general", "three-fold", "null"])
def test_promised_zeros_are_found(kind):
    net, x, y = critical_case()
    op = {
        "splits": lambda: embedding(net, [(1, 0, 0.5), (2, 1, 2.0)]),
        "general": lambda: random_embedding(
            net, (2, 5, 4, 1), torch.Generator().manual_seed(0), null=0
        ),
        "three-fold": lambda: three_fold(net),
        "null": lambda: embedding(net, [(1, None, 0.3)]),
    }[kind]()
    found = certify(net, x, y, after=op)
    assert float(found.gradient_before) < 1e-13
    assert float(found.gradient_after) < 1e-12
    # Theory promises a lower bound; a null neuron's and a global splitting's point has more than
    # the family moves.
    assert int(found.found_zeros) >= int(found.predicted_zeros) > 0
    if kind in ("splits", "general"):
        assert int(found.found_zeros) == int(found.predicted_zeros)


def test_zero_modes_of_the_narrow_net_are_carried_over():
    net, x, y = critical_case((2, 3, 2), "leaky_relu")
    before = inertia(hessian(net, x, y)).counts
    assert before[1] == 3  # one scaling a neuron
    found = certify(net, x, y, after=embedding(net, [(1, 0, 0.5)]))
    assert int(found.predicted_zeros) == 4
    assert (
        int(found.found_zeros) >= 5
    )  # the copy has its own scaling and, as sigma'' = 0, moves more freely
    assert promised_zeros(net, embedding(net, [(1, 0, 0.5)]), hessian(net, x, y), 3) == 4
    assert promised_zeros(net, embedding(net, [(1, 0, 0.5)]), hessian(net, x, y), 0) == 1


def test_predictions_are_made_at_critical_points_only_or_taken_as_given():
    net, x, y = critical_case()
    op = embedding(net, [(1, 0, 0.5)])
    assert certify(net, x, torch.sin(x[:, :1]), after=op).predicted_zeros is None
    assert int(certify(net, x, y, after=op, predicted_zeros=7).predicted_zeros) == 7
    assert certify(net, x, y, after=op(net)).predicted_zeros is None


def test_a_pair_of_nets_without_an_operator_and_what_it_cannot_know():
    net, x, y = critical_case()
    found = certify(net, x, y, after=split(net, 1, 0, 0.5), off_sample=1e3 * x)
    assert (found.transport_gap, found.compression_gap, found.intertwining_gap) == (
        None,
        None,
        None,
    )
    assert float(found.off_sample_gap) < 1e-13
    assert found.inertia_after.counts[1] == 1


def test_what_is_broken_shows():
    """The certificate of an operator that does not do what it claims."""
    net, x, y = critical_case()
    op = embedding(net, [(1, 0, 0.5)])

    class Bent:
        transport = staticmethod(op.transport)

        def __call__(self, net):
            wide = op(net)
            return MLP((wide.weights[0] * 1.001, *wide.weights[1:]), wide.biases, wide.activation)

    found = certify(net, x, y, after=Bent())
    assert float(found.output_gap) > 1e-5
    assert float(found.gradient_after) > 1e-6
    assert float(found.transport_gap) > 1e-6
    assert float(found.compression_gap) > 1e-6

    class Wrong:
        def __call__(self, net):
            return op(net)

        def transport(self, grad):
            return embedding(grad, [(1, 0, 0.4)]).transport(grad)

    x, y = samples(net, 9)
    assert float(certify(net, x, y, after=Wrong()).transport_gap) > 1e-3
    assert float(certify(net, x, y, after=op).transport_gap) < 1e-13


@pytest.mark.parametrize(
    ("after", "kept"),
    [((1, 2, 3), True), ((0, 3, 4), False), ((2, 1, 4), False), ((2, 3, 2), False)],
)
def test_inertia_is_kept_when_no_count_decreases(after, kept):
    def spectrum(counts):
        return inertia(
            torch.diag(
                torch.tensor([-1.0] * counts[0] + [0.0] * counts[1] + [1.0] * counts[2]).double()
            )
        )

    net, x, y = critical_case((1, 2, 1))
    found = replace(
        certify(net, x, y, after=net, spectrum=None),
        inertia_before=spectrum((1, 2, 3)),
        inertia_after=spectrum(after),
    )
    assert bool(found.inertia_kept) == kept
    assert int(found.found_zeros) == after[1]


def test_batches():
    net = init((2, 3, 1), batch=(4,), generator=0)
    x, y = samples(net, 12)
    found = certify(
        net, x, y, after=embedding(net, [(1, 1, 0.3)]), spectrum=lambda h: inertia(h, require=False)
    )
    assert (
        found.output_gap.shape == found.transport_gap.shape == found.compression_gap.shape == (4,)
    )
    assert found.inertia_kept.shape == (4,)
    assert float(found.transport_gap.max()) < 1e-13
    for i in range(4):
        one = certify(net[i], x, y, after=split(net[i], 1, 1, 0.3), spectrum=None)
        assert float(one.gradient_after) == pytest.approx(float(found.gradient_after[i]), rel=1e-12)
    assert ".." in str(found)


def test_other_losses_and_large_nets_without_curvature():
    net = init((2, 200, 3), generator=0)
    x, _ = samples(net, 30)
    found = certify(
        net,
        x,
        torch.arange(30) % 3,
        cross_entropy,
        after=embedding(net, [(1, 5, 0.2)]),
        spectrum=None,
    )
    assert found.inertia_before is None
    assert found.inertia_kept is None
    assert found.found_zeros is None
    assert float(found.transport_gap) < 1e-13


def test_the_table():
    net, x, y = critical_case((1, 2, 1), residual=0.01)
    text = str(certify(net, x, y, after=embedding(net, [(1, 0, 0.3)]), off_sample=x))
    lines = text.splitlines()
    assert lines[0].split() == ["before", "after"]
    rows = {line[:38].strip(): line[38:].split() for line in lines[1:]}
    assert rows["parameters"] == ["7", "10"]
    assert rows["risk"] == ["0.0001", "0.0001"]
    assert rows["zero eigenvalues"] == ["0", "1"]
    assert rows["zero eigenvalues predicted, at least"] == ["1"]
    assert set(rows) >= {
        "negative eigenvalues",
        "positive eigenvalues",
        "gradient, L1 norm",
        "max |H' A - C H|",
    }
    assert all(float(rows[name][0]) < 1e-12 for name in rows if name.startswith("max"))
    assert all(len(line) <= 82 and line == line.rstrip() for line in lines)
    short = str(certify(net, x, y, after=split(net, 1, 0, 0.3), spectrum=None))
    assert "eigenvalues" not in short
    assert "off the sample" not in short


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda n, x, y: certify(n, x, y, after=init((1, 3, 2), generator=0)),
            ValueError,
            r"expected one batch shape, and the same in- and",
        ),
        (
            lambda n, x, y: certify(n, x, y, after=init((1, 3, 1), batch=(2,), generator=0)),
            ValueError,
            r"expected one batch shape",
        ),
        (
            lambda n, x, y: certify(n, x, y[:3], after=n),
            ValueError,
            r"5 samples and targets of shape \(3, 1\)",
        ),
        (lambda n, x, y: certify(n, x.repeat(1, 2), y, after=n), ValueError, r"x has shape"),
        (
            lambda n, x, y: promised_zeros(
                init((1, 2, 1), batch=(2,), generator=0), three_fold(n), torch.eye(7), 0
            ),
            ValueError,
            r"one net",
        ),
    ],
)
def test_impossible_requests(call, error, message):
    net = init((1, 2, 1), generator=0)
    with pytest.raises(error, match=message):
        call(net, *samples(net, 5))


def test_no_clear_spectral_gap_is_an_error_unless_one_is_chosen():
    net, x, y = critical_case((1, 2, 1))
    op = embedding(
        net, [(1, 0, 1e-9)]
    )  # a copy with almost no weight: an eigenvalue of about 1e-9 beside the zero
    with pytest.raises(NoSpectralGap):
        certify(net, x, y, after=op, spectrum=lambda h: inertia(h, gap=1e12))
    found = certify(
        net, x, y, after=op, spectrum=lambda h: inertia(h, threshold=1e-6, require=False)
    )
    assert int(found.found_zeros) >= 1


# Modules


def test_module_measures_agree_with_those_of_mlps():
    net = init((2, 3, 2), "sigmoid", generator=0)
    x, y = samples(net, 9)
    module = to_sequential(net)
    torch.testing.assert_close(
        module_gradient(module, x, y), flatten(gradient(net, x, y)), rtol=1e-12, atol=1e-15
    )
    torch.testing.assert_close(
        module_hessian(module, x, y), hessian(net, x, y), rtol=1e-10, atol=1e-13
    )
    assert all(p.grad is None for p in module.parameters())
    labels = torch.arange(9) % 2
    torch.testing.assert_close(
        module_gradient(module, x, labels, cross_entropy),
        flatten(gradient(net, x, labels, cross_entropy)),
    )


def test_certificates_of_modules_and_of_mlps_agree():
    net, x, y = critical_case((2, 3, 1))
    module = to_sequential(net)
    ours = certify(net, x, y, after=split(net, 1, 0, 0.4), off_sample=2 * x)
    theirs = certify_modules(
        module, split_channel(module, 1, 0, 0.4), x, y, off_sample=2 * x, predicted_zeros=1
    )
    assert theirs.parameters == ours.parameters
    assert theirs.inertia_after.counts == ours.inertia_after.counts
    assert float(theirs.risk_before) == pytest.approx(float(ours.risk_before), rel=1e-12)
    assert float(theirs.gradient_after) < 1e-13
    assert int(theirs.predicted_zeros) == int(theirs.found_zeros) == 1
    assert float(theirs.off_sample_gap) < 1e-13


def test_module_errors():
    x = torch.ones(3, 2)
    with pytest.raises(
        ValueError, match=r"outputs have shapes \(3, 2\) and \(3, 1\): expected the same"
    ):
        certify_modules(
            nn.Linear(2, 2),
            nn.Linear(2, 1),
            x,
            torch.zeros(3, 1),
            lambda f, y: f.square().mean(),
            curvature=False,
        )
    with pytest.raises(
        TypeError,
        match=r"parameters are torch.float32: curvature is float64; pass module.double\(\)",
    ):
        module_hessian(nn.Linear(2, 1), x, torch.zeros(3, 1))


def test_linear_modules_whose_gradient_does_not_depend_on_every_parameter():
    h = module_hessian(
        nn.Linear(2, 1).double(), torch.zeros(3, 2).double(), torch.ones(3, 1).double(), mse
    )
    assert h.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2]]
    assert math.isfinite(float(h.sum()))
