"""Slow windows: on curves whose slope is known, and the iterates picked from a trajectory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.critical import slow_windows, smallest_gradient_iterates
from lib.critical.windows import Window
from lib.nets import flatten, gradient, init, risk
from lib.train.descent import descend, record_steps

F64 = torch.float64


def steps_to(last: int, records: int = 300) -> torch.Tensor:
    return torch.from_numpy(record_steps(last, records))


def plateau(steps, height, begin, end):
    """t^-1 before begin, level to end, t^-1 after."""
    t = steps.double().clamp(min=0.5)
    return (
        height
        * (begin / torch.minimum(t, torch.tensor(float(begin))))
        * (end / torch.maximum(t, torch.tensor(float(end))))
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    begin=st.integers(200, 2000),
    decades=st.floats(0.7, 1.5),
    height=st.floats(1e-3, 10),
    noise=st.floats(0, 0.01),
)
def test_a_plateau_between_power_laws_is_found_whatever_its_height(begin, decades, height, noise):
    steps = steps_to(10**5)
    end = int(begin * 10**decades)
    g = torch.Generator().manual_seed(begin)
    losses = plateau(steps, height, begin, end) * (
        1 + noise * torch.randn(len(steps), generator=g, dtype=F64)
    )
    # the fit reaches a factor 1.5 either way, and noise of 1% on some ten records leaves slopes
    # below 0.1
    found = slow_windows(steps, losses, slope=0.15)
    assert len(found) == 1
    window = found[0]
    assert begin / 1.1 <= window.first <= 1.6 * begin and end / 1.6 <= window.last <= 1.1 * end
    assert window.loss == pytest.approx(height, rel=0.03)
    assert window.first == int(steps[window.start]) and window.last == int(steps[window.stop])
    assert window.slope <= 0.15 and window.ratio >= 3


def test_slope_decides_on_a_power_law():
    steps = steps_to(10**5)
    losses = steps.double().clamp(min=1) ** -0.08
    (whole,) = slow_windows(steps, losses)
    assert (
        whole.first >= 100 and whole.last == 10**5 and whole.slope == pytest.approx(0.08, abs=1e-9)
    )
    assert slow_windows(steps, losses, slope=0.07) == ()
    # a loss that rises as fast is no slower
    assert slow_windows(steps, 1 / losses, slope=0.07) == ()


def test_a_short_or_early_plateau_is_no_window():
    steps = steps_to(10**5)
    assert slow_windows(steps, plateau(steps, 1.0, 1000, 2000)) == ()
    assert len(slow_windows(steps, plateau(steps, 1.0, 1000, 2000), ratio=1.2, smooth=1.1)) == 1
    early = plateau(steps, 1.0, 5, 80)
    assert slow_windows(steps, early) == ()
    assert len(slow_windows(steps, early, begin=1)) == 1


def test_two_plateaus_are_two_windows_in_order():
    steps = steps_to(10**6)
    losses = plateau(steps, 1.0, 100, 1000) * plateau(steps, 1.0, 10**4, 10**5).clamp(max=1.0)
    losses = torch.where(
        steps < 3000, plateau(steps, 1.0, 100, 1000), plateau(steps, 0.1, 10**4, 10**5)
    )
    found = slow_windows(steps, losses)
    assert [round(w.loss, 1) for w in found] == [1.0, 0.1] and found[0].stop < found[1].start


@pytest.mark.parametrize(
    "steps, losses, options, message",
    [
        ([1, 2], [1.0, 1.0, 1.0], {}, "expected one curve"),
        ([1, 1], [1.0, 1.0], {}, "do not increase"),
        ([-1, 1], [1.0, 1.0], {}, "do not increase"),
        ([1, 2], [1.0, 0.0], {}, "not positive and finite"),
        ([1, 2], [1.0, float("inf")], {}, "not positive and finite"),
        ([1, 2], [1.0, 1.0], {"slope": 0.0}, "slope 0.0"),
        ([1, 2], [1.0, 1.0], {"ratio": 1.0}, "ratio 1.0"),
        ([1, 2], [1.0, 1.0], {"smooth": 1.0}, "smooth 1.0"),
    ],
)
def test_window_errors(steps, losses, options, message):
    with pytest.raises(ValueError, match=message):
        slow_windows(torch.tensor(steps), torch.tensor(losses), **options)


def test_too_few_records_give_no_window():
    assert slow_windows(torch.tensor([0, 500]), torch.tensor([1.0, 1.0])) == ()


def trajectory(records=6, batch=(2,)):
    """Smallest gradients numbered so that the right pick is known."""
    g = torch.Generator().manual_seed(0)
    shape = (records - 1, *batch)
    return SimpleNamespace(
        steps=10 ** torch.arange(records),
        losses=torch.ones(records, *batch, dtype=F64),
        smallest=init((1, 2, 1), batch=shape, generator=g),
        smallest_gradient=torch.rand(shape, generator=g, dtype=F64),
        smallest_step=torch.arange(records - 1).view(-1, *[1] * len(batch)).expand(shape),
        smallest_loss=torch.rand(shape, generator=g, dtype=F64),
    )


def test_the_smallest_gradient_inside_each_window_is_picked():
    run = trajectory()
    run.smallest_gradient[:, 0] = torch.tensor([0.5, 5.0, 3.0, 4.0, 0.25])
    run.smallest_gradient[:, 1] = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0])
    windows = [
        [Window(1, 4, 10, 10**4, 1.0, 0.0), Window(0, 1, 1, 10, 1.0, 0.0)],
        [Window(0, 5, 1, 10**5, 1.0, 0.0)],
    ]
    found = smallest_gradient_iterates(run, windows)
    assert found.index.tolist() == [0, 0, 1] and found.window.tolist() == [0, 1, 0]
    assert found.step.tolist() == [2, 0, 4] and found.gradient.tolist() == [3.0, 0.5, 5.0]
    assert torch.equal(flatten(found.net[0]), flatten(run.smallest[2, 0]))
    assert torch.equal(found.loss, run.smallest_loss[[2, 0, 4], [0, 0, 1]])


def test_windows_are_found_net_by_net_and_diverged_nets_have_none():
    run = trajectory(batch=(2, 2))
    run.losses[3, 0, 1] = float("inf")
    found = smallest_gradient_iterates(run)
    assert found.index.tolist() == [0, 2, 3]
    assert smallest_gradient_iterates(run, ratio=1e9).net.batch == (0,)


def test_iterates_of_a_real_descent_are_near_critical():
    x = torch.linspace(-1, 1, 9, dtype=F64)[:, None]
    y = torch.sin(3 * x)
    run = descend(
        init((1, 2, 1), std=1e-4, batch=(3,), generator=0),
        x,
        y,
        steps=60,
        lr=0.05,
        backend="torch",
        records=30,
    )
    found = smallest_gradient_iterates(run, begin=1)
    assert found.index.tolist() == [0, 1, 2]
    torch.testing.assert_close(
        flatten(gradient(found.net, x, y)).abs().sum(-1), found.gradient, rtol=1e-9, atol=0
    )
    torch.testing.assert_close(risk(found.net, x, y), found.loss, rtol=1e-9, atol=0)


def test_iterate_errors():
    run = trajectory()
    with pytest.raises(ValueError, match="windows of 1 nets: expected 2"):
        smallest_gradient_iterates(run, [[]])
    with pytest.raises(ValueError, match=r"records 2..6: expected 0..5"):
        smallest_gradient_iterates(run, [[Window(2, 6, 1, 2, 1.0, 0.0)], []])
    with pytest.raises(ValueError, match="expected one of them"):
        smallest_gradient_iterates(run, [[], []], slope=0.1)
    run.smallest = None
    with pytest.raises(ValueError, match="keep_smallest=True"):
        smallest_gradient_iterates(run)
