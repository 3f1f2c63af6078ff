"""Training: the update rule, the same minibatches for every net, and resuming after a kill at any
point."""

import multiprocessing
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from experiments import checkpoints as checkpoint
from experiments.families import Run, Unfinished, checkpoint_epochs, train_family
from experiments.processes import in_processes
from lib.graft import JointTraining, graft_fresh, graft_trained
from lib.mixture import MixtureOptions, mix
from lib.nets import VGG, initialise
from lib.train.sgd import Execution, Recipe, State, evaluate, train
from lib.train.sgd.dropout import dropout_from
from lib.train.sgd.regulariser import l12

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.randn(24, 3, 8, 8, generator=GENERATOR), torch.arange(24) % 10
SHORT = Recipe(epochs=3, batch=8, pad=2, milestones=(2,))


def tiny(seed=0, **fields):
    return initialise(
        VGG(**({"width": 1 / 32, "side": 8, "pools": 3, "hidden": 8} | fields)), generator=seed
    )


def parameters(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def same(a: State, b: State):
    assert a.epoch == b.epoch
    assert a.history == b.history
    for left, right in zip(a.nets, b.nets, strict=True):
        assert torch.equal(parameters(left), parameters(right))
    for left, right in zip(a.momenta, b.momenta, strict=True):
        assert all(torch.equal(m, n) for m, n in zip(left, right, strict=True))


def test_the_update_is_nesterovs():
    net = tiny(dropout=0.0).double()
    x, y = IMAGES[:8].double(), LABELS[:8]
    recipe = Recipe(epochs=4, batch=8, pad=None, lr=0.05, warmup=2, milestones=(3,), weight=0.3)
    got = train([net], x, y, recipe)
    w = [p.detach().clone() for p in net.parameters()]
    momentum = [torch.zeros_like(p) for p in w]
    for epoch in range(4):
        rate = 0.05 * (0.5 if epoch == 0 else 1) * (0.2 if epoch >= 3 else 1)
        named = {k: p.requires_grad_() for (k, _), p in zip(net.named_parameters(), w, strict=True)}
        loss = functional.cross_entropy(torch.func.functional_call(net, named, (x,)), y)
        loss = loss + 0.3 * sum(l12(p) for k, p in named.items() if k.endswith("weight"))
        gradients = torch.autograd.grad(loss, list(named.values()))
        momentum = [0.9 * m + g for m, g in zip(momentum, gradients, strict=True)]
        w = [
            (p - rate * (g + 0.9 * m)).detach()
            for p, g, m in zip(w, gradients, momentum, strict=True)
        ]
    # float64; the minibatch is the same 8 images in another order
    torch.testing.assert_close(
        parameters(got.nets[0]), torch.cat([p.flatten() for p in w]), rtol=1e-10, atol=1e-12
    )


def test_a_net_trains_the_same_alone_as_beside_others():
    both = train([tiny(1, dropout=0.0), tiny(2, dropout=0.0)], IMAGES, LABELS, SHORT, seed=5)
    alone = train([tiny(2, dropout=0.0)], IMAGES, LABELS, SHORT, seed=5)
    assert torch.equal(parameters(both.nets[1]), parameters(alone.nets[0]))
    first = train(
        [tiny(1)], IMAGES, LABELS, SHORT, seed=5
    )  # with dropout, the first net keeps its masks
    both = train([tiny(1), tiny(2)], IMAGES, LABELS, SHORT, seed=5)
    assert torch.equal(parameters(both.nets[0]), parameters(first.nets[0]))


def test_two_equal_nets_stay_equal_on_the_same_minibatches():
    state = train([tiny(1, dropout=0.0), tiny(1, dropout=0.0)], IMAGES, LABELS, SHORT)
    assert torch.equal(parameters(state.nets[0]), parameters(state.nets[1]))
    other = train([tiny(1, dropout=0.0)], IMAGES, LABELS, SHORT, seed=1)
    assert not torch.equal(parameters(state.nets[0]), parameters(other.nets[0]))


def test_training_leaves_its_arguments_and_the_global_stream_alone():
    net = tiny()
    before, stream = parameters(net), torch.random.get_rng_state()
    state = train([net], IMAGES, LABELS, SHORT)
    assert torch.equal(parameters(net), before)
    assert torch.equal(torch.random.get_rng_state(), stream)
    assert not any(n.training for n in state.nets)
    assert all(p.grad is None for p in state.nets[0].parameters())


def test_training_learns():
    bright = torch.where(
        LABELS < 5, 1.0, -1.0
    )  # two kinds of images, told apart by their brightness
    images = IMAGES * 0.3 + bright[:, None, None, None]
    net = tiny(depth=11, width=1 / 8, hidden=16, dropout=0.0, classes=2)
    state = train(
        [net],
        images,
        (LABELS < 5).long(),
        Recipe(epochs=15, batch=8, pad=None, lr=0.03, penalty="none"),
    )
    assert state.history[0].cross_entropy[0] > 0.5  # ln 2 = 0.69 is guessing
    assert state.history[-1].cross_entropy[0] < 0.1
    assert evaluate(state.nets[0], images, (LABELS < 5).long()).accuracy == 1


def test_without_momentum_or_penalty_it_is_plain_descent():
    net = tiny(dropout=0.0).double()
    recipe = Recipe(epochs=1, batch=8, pad=None, momentum=0.0, penalty="none", warmup=0)
    state = train([net], IMAGES[:8].double(), LABELS[:8], recipe)
    loss = functional.cross_entropy(net(IMAGES[:8].double()), LABELS[:8])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    torch.testing.assert_close(
        parameters(state.nets[0]), parameters(net) - 0.01 * gradient, rtol=1e-10, atol=1e-12
    )
    assert state.momenta == ((),)


def test_flips_can_be_switched_off():
    a = train([tiny(dropout=0.0)], IMAGES, LABELS, Recipe(epochs=1, batch=8, pad=0, flip=False))
    b = train([tiny(dropout=0.0)], IMAGES, LABELS, Recipe(epochs=1, batch=8, pad=None))
    # no pad and no flip is no augmentation, and a flip alone is one
    torch.testing.assert_close(parameters(a.nets[0]), parameters(b.nets[0]), rtol=0, atol=0)
    c = train([tiny(dropout=0.0)], IMAGES, LABELS, Recipe(epochs=1, batch=8, pad=0, flip=True))
    assert not torch.equal(parameters(a.nets[0]), parameters(c.nets[0]))


def test_images_without_a_batch_are_refused():
    with pytest.raises(ValueError, match="images"):
        train([tiny()], IMAGES[0], LABELS, SHORT)


# checkpoints and resuming


def test_checkpoints_come_at_the_epochs_asked_for_and_can_stop():
    seen = []
    state = train(
        [tiny()], IMAGES, LABELS, SHORT, on_epoch=lambda e, s: seen.append(s()) if e != 2 else None
    )
    assert [s.epoch for s in seen] == [1, 3]
    same(seen[1], state)
    assert not torch.equal(
        parameters(seen[0].nets[0]), parameters(state.nets[0])
    )  # a copy, not a view
    stopped = train([tiny()], IMAGES, LABELS, SHORT, on_epoch=lambda epoch, state: epoch == 2)
    assert stopped.epoch == 2
    assert len(stopped.history) == 2


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_resuming_is_identical_to_never_stopping(tmp_path, killed_after):
    nets = [tiny(1), tiny(2)]
    whole = train(nets, IMAGES, LABELS, SHORT, seed=4)
    file = tmp_path / "run.pt"

    class Killed(Exception):
        pass

    checkpoint.save(State(0, tuple(nets)), file)

    def keep(epoch, state):
        if epoch > killed_after:
            raise Killed
        checkpoint.save(state(), file)

    with pytest.raises(Killed):
        train(nets, IMAGES, LABELS, SHORT, seed=4, on_epoch=keep)
    start = checkpoint.resume(file, State(0, tuple(nets)))
    assert start.epoch == killed_after
    same(train(start, IMAGES, LABELS, SHORT, seed=4), whole)


KILLED = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from test_training import IMAGES, LABELS, LONG, tiny
from experiments import checkpoints as checkpoint
from lib.train.sgd import State, train
file = Path({file!r})
def keep(epoch, state):
    checkpoint.save(state(), file)
    print(epoch, flush=True)
start = checkpoint.resume(file, State(0, (tiny(1), tiny(2))))
train(start, IMAGES, LABELS, LONG, seed=4, on_epoch=keep)
"""
LONG = Recipe(epochs=30, batch=8, pad=2, milestones=(2,))


@pytest.mark.slow  # `make faults` kills trainings too
def test_sigkill_at_arbitrary_moments_changes_nothing(tmp_path):
    file = tmp_path / "run.pt"
    script = KILLED.format(tests=str(Path(__file__).parent), file=str(file))
    for delay in (0.05, 0.21):  # somewhere within an epoch or a write, wherever it falls
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    nets = (tiny(1), tiny(2))
    resumed = checkpoint.resume(file, State(0, nets))
    assert resumed.epoch >= 1
    same(train(resumed, IMAGES, LABELS, LONG, seed=4), train(nets, IMAGES, LABELS, LONG, seed=4))


def test_a_failed_write_leaves_the_old_state(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    checkpoint.save(State(1, (tiny(),)), file)

    def broken(content, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(State(2, (tiny(),)), file)
    assert checkpoint.load(file).epoch == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_a_state_survives_the_disk(tmp_path):
    state = train([tiny(1), tiny(2, width=1 / 16)], IMAGES, LABELS, SHORT)
    checkpoint.save(state, tmp_path / "run.pt")
    back = checkpoint.load(tmp_path / "run.pt")
    same(back, state)
    assert [n.design for n in back.nets] == [n.design for n in state.nets]
    with pytest.raises(ValueError, match="holds nets"):
        checkpoint.resume(tmp_path / "run.pt", State(0, (tiny(),)))


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="no nets"):
        train([], IMAGES, LABELS, SHORT)
    with pytest.raises(ValueError, match="labels"):
        train([tiny()], IMAGES, LABELS[:5], SHORT)
    with pytest.raises(ValueError, match="after epoch 9: the recipe ends at 3"):
        train(State(9, (tiny(),)), IMAGES, LABELS, SHORT)


def drawn(_=0):
    """Parameters of everything that draws, from seeds: training with dropout, Algorithm 1, fresh
    joints, mixtures and initial weights."""
    nets = [tiny(1, width=1 / 16), tiny(2, width=1 / 16)]
    once = JointTraining(epochs=1, batch=8)
    found = [
        train(nets[:1], IMAGES, LABELS, SHORT, seed=3).nets[0],
        graft_trained(*nets, IMAGES, 2, once, generator=5).net,
        graft_fresh(*nets, IMAGES, 2, generator=5).net,
        mix(*nets, IMAGES, 0.5, MixtureOptions(ridge=0.01), generator=7).net,
    ]
    return [parameters(net).numpy() for net in (*nets, *found)]


@pytest.fixture
def one_thread():
    """Sums of two threads round otherwise than those of one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:.* multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.usefixtures("one_thread")
def test_threads_and_processes_draw_the_same():
    """One thread, three at once, a forked process and a spawned one; nobody touches the global
    stream."""
    stream, alone = torch.get_rng_state(), drawn()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(drawn, range(3)))
    for start in ("fork", "spawn"):
        context = multiprocessing.get_context(start)
        with ProcessPoolExecutor(1, context, initializer=torch.set_num_threads, initargs=(1,)) as p:
            found.append(p.submit(drawn).result())
    for others in found:
        assert all(np.array_equal(a, b) for a, b in zip(alone, others, strict=True))
    assert torch.equal(torch.get_rng_state(), stream)


def test_dropout_masks_are_those_of_the_global_stream():
    """A generator of its own changes who may disturb the draws, not the draws."""
    x = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        expected = [functional.dropout(x, 0.3), functional.dropout(x, 0.5)]
    with dropout_from(11, x.device):
        got = [nn.Dropout(0.3)(x), nn.Dropout(0.5)(x)]
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_frozen_layers_stay_as_they_are_and_resume(tmp_path):
    net = tiny(1)
    net.joints[0].requires_grad_(False)
    whole = train([net], IMAGES, LABELS, SHORT)
    assert torch.equal(whole.nets[0].joints[0].weight, net.joints[0].weight)
    assert not torch.equal(whole.nets[0].joints[1].weight, net.joints[1].weight)
    half = train([net], IMAGES, LABELS, SHORT, on_epoch=lambda epoch, state: epoch == 1)
    checkpoint.save(half, tmp_path / "run.pt")
    same(train(checkpoint.load(tmp_path / "run.pt"), IMAGES, LABELS, SHORT), whole)
    with pytest.raises(ValueError, match="every parameter of a net is frozen"):
        train([net.requires_grad_(False)], IMAGES, LABELS, SHORT)


@pytest.mark.parametrize("wrong", [-1, -100, 10])
def test_labels_outside_the_classes_are_refused(wrong):
    labels = LABELS.clone()
    labels[5] = wrong
    with pytest.raises(ValueError, match="the labels run from .* expected 0..9"):
        train([tiny()], IMAGES, labels, SHORT)
    with pytest.raises(ValueError, match="labels run from .* expected 0..9|smallest class"):
        evaluate(tiny(), IMAGES, labels)


def test_numbers_that_are_not_finite_are_refused():
    images = IMAGES.clone()
    images[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="images: 1 of"):
        train([tiny()], images, LABELS, SHORT)


# evaluation and execution


def test_evaluation_against_numpy():
    net = tiny().eval()
    logits = net(IMAGES).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    got = evaluate(net.train(), IMAGES, LABELS, batch=7)
    assert got.cross_entropy == pytest.approx(
        -log_p[np.arange(24), LABELS].mean(), rel=1e-6
    )  # float32 logits
    assert got.accuracy == pytest.approx((logits.argmax(1) == LABELS.numpy()).mean())
    assert got.error == 1 - got.accuracy
    assert net.training
    with pytest.raises(ValueError, match="n >= 1 samples"):
        evaluate(net, IMAGES[:0], LABELS[:0])


def test_bfloat16_products_stay_close():
    full = train([tiny(dropout=0.0)], IMAGES, LABELS, SHORT)
    mixed = train([tiny(dropout=0.0)], IMAGES, LABELS, SHORT, execution=Execution(mixed=True))
    assert mixed.nets[0].joint(1).weight.dtype == torch.float32
    # bfloat16 has 8 bits: 0.4% a product, and the loss differs by less than that after 9 steps
    assert mixed.history[-1].cross_entropy[0] == pytest.approx(
        full.history[-1].cross_entropy[0], rel=5e-3
    )
    assert not torch.equal(parameters(mixed.nets[0]), parameters(full.nets[0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_like_a_cpu():
    nets = [tiny(1, dropout=0.0), tiny(2, dropout=0.0)]
    cpu = train(nets, IMAGES, LABELS, SHORT)
    for execution in (Execution("cuda"), Execution("cuda", compiled=True)):
        gpu = train(nets, IMAGES, LABELS, SHORT, execution=execution)
        for a, b in zip(cpu.nets, gpu.nets, strict=True):
            torch.testing.assert_close(
                parameters(a), parameters(b).cpu(), rtol=1e-2, atol=1e-4
            )  # TF32, 9 steps


# families


def test_a_family_is_the_same_in_one_process_as_in_several():
    members = [("he_normal", 0), ("he_normal", 1), ("code_uniform", 0)]
    design = tiny().design
    one, two = (
        train_family(
            design, members, IMAGES, LABELS, SHORT, seed=2, checkpoints=[1, 7], run=Run(processes=p)
        )
        for p in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert (a.how, a.replica) == (b.how, b.replica)
        assert list(a.nets) == [0, 1, 3]
        assert a.history == b.history
        assert len(a.history[0].accuracy) == 1
        for epoch in a.nets:
            assert torch.equal(parameters(a.nets[epoch]), parameters(b.nets[epoch]))
    initial = [parameters(m.nets[0]) for m in one]
    assert not torch.equal(initial[0], initial[1])


def test_a_family_stops_in_time_and_goes_on_from_its_folder(tmp_path):
    call, run = dict(seed=2, checkpoints=[1]), Run(processes=1, folder=tmp_path)
    late = Run(processes=1, folder=tmp_path, minutes=0)
    members = [("he_normal", 0), ("he_uniform", 0)]
    alone = Run(processes=1)
    whole = train_family(tiny().design, members, IMAGES, LABELS, SHORT, run=alone, **call)
    for _ in range(2):  # each call stops after one epoch, for it is over its time
        with pytest.raises(Unfinished, match="run it again to go on"):
            train_family(tiny().design, members, IMAGES, LABELS, SHORT, run=late, **call)
    resumed = train_family(tiny().design, members, IMAGES, LABELS, SHORT, run=run, **call)
    for a, b in zip(whole, resumed, strict=True):
        assert list(a.nets) == list(b.nets)
        assert a.history == b.history
        for epoch in a.nets:
            assert torch.equal(parameters(a.nets[epoch]), parameters(b.nets[epoch]))


def test_checkpoints_are_the_papers_24():
    kept = checkpoint_epochs(200)
    assert len(kept) == 24
    assert kept[:7] == (1, 2, 5, 8, 10, 20, 30)
    assert kept[-1] == 200


def test_bad_families_are_refused():
    with pytest.raises(ValueError, match="no members"):
        train_family(tiny().design, [], IMAGES, LABELS, SHORT)
    with pytest.raises(ValueError, match="needs a folder"):
        train_family(tiny().design, [("he_normal", 0)], IMAGES, LABELS, SHORT, run=Run(minutes=1))
    with pytest.raises(ValueError, match="one number per net"):
        train([tiny()], IMAGES, LABELS, SHORT, numbers=[0, 1])
    with pytest.raises(ValueError, match="processes is 0"):
        in_processes(max, [(1, 2)], processes=0)


def test_every_library_of_a_process_of_its_own_has_one_thread() -> None:
    """The pools of BLAS and OpenMP, not torch's alone: two processes of two threads each are slower
    than one."""
    from threadpoolctl import threadpool_info

    for pools in in_processes(threadpool_info, [(), ()], processes=2):
        assert pools and all(pool["num_threads"] == 1 for pool in pools)
