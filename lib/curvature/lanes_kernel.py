"""Hessians of small nets of any depth, eight nets side by side, in one loop over the samples.

Let z_l = W^[l] f^[l-1] + b^[l], delta_l = dR/dz_l and S_ll' = d^2 R / dz_l dz_l' at fixed weights,
sample by sample. With f^[l-1] ending in a 1 for the bias, the entry of two parameters of layers l
<= l' is

    H[W^[l]_ab, W^[l']_cd] = sum_i f_b^[l-1] (S_ll',ac f_d^[l'-1] + delta_l',c df_d^[l'-1]/dz_l,a),

the last term for l < l' alone. From layer to layer,

    S_LL = d^2 loss/df^2,    S_ll' = diag(sigma') W^[l+1]^T S_(l+1)l' + diag(sigma'' W^[l+1]^T
    delta_(l+1)) for l = l'.

Without the terms in sigma'' and delta this is the Gauss-Newton part, and the rest starts from
S_LL = 0. A batched product of matrices this small spends its time on calls; here every number is a
vector of eight nets (`lib._simd.lanes`), and the sums stay in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

from lib._simd.compiled import cached, inlined, njit
from lib._simd.lanes import (
    LANES,
    Floats,
    Ints,
    Lanes,
    Memory,
    address,
    broadcast,
    fma,
    load,
    select,
    splat,
    store,
)
from lib._simd.pointwise import (
    ELU,
    SIGMOID,
    TANH,
    Constants,
    expm1,
    in_lanes,
    pull,
    unit,
    value_with,
)

TO_UNIT = unit(ELU)  # of e^z
NUMBER = 8  # bytes


class Places(NamedTuple):
    """Where in the scratch each kind of number begins, in vectors: features, sigma', sigma'' (later
    sigma'' W^T delta), delta, df/dz, S, and a row of an entry's factors."""

    f: int
    s1: int
    s2: int
    delta: int
    e: int
    s: int
    row: int


class Net(NamedTuple):
    """The shape of the nets: of every layer its width, where in the scratch its neurons and its
    features begin and in theta its weights, in vectors, and whether it has biases."""

    widths: Ints
    neuron: Ints
    feature: Ints
    weight: Ints
    bias: Ints
    places: Places


class Sigma(NamedTuple):
    """The activation: its kind, unit and parameter, and the `constants` of its kind."""

    kind: int
    unit: float
    parameter: float
    table: Floats


class Risk(NamedTuple):
    """The loss: cross entropy or the mean squared error, and its unit 1 / n or 2 / (n k)."""

    entropy: bool
    unit: float


class Sample(NamedTuple):
    """Inputs (n, m_0) and targets (n, m_L), those of the cross entropy one-hot."""

    x: Floats
    y: Floats


class Work(NamedTuple):
    """Of one thread: the sums of a unit, one row for each part of H, and the scratch."""

    sums: Floats
    scratch: Floats


class Found(NamedTuple):
    """Where the sums go: pairs (entries, 2), in the order of `add`; h (1 or 2, nets, M, M)."""

    pairs: Ints
    h: Floats


@njit
def second(kind: int, parameter: float, t: Lanes, s1: Lanes) -> Lanes:
    """sigma''(z), given sigma(z) and sigma'(z)."""
    if kind == TANH:
        return splat(-2.0) * t * s1
    if kind == SIGMOID:
        return s1 * (splat(1.0) - splat(2.0) * t)
    if kind == ELU:
        return select(splat(0.0) < t, splat(0.0), t + splat(parameter))
    return splat(0.0)


@inlined
def forward(sigma: Sigma, const: Constants, net: Net, theta: Memory, x: Memory, w: Memory) -> None:
    """f^[l] with a 1 behind it, and sigma' and sigma'' of every neuron, for the sample at x of the
    unit at theta."""
    widths, neuron, feature, weight, _, (f, s1, s2, _, _, _, _) = net
    kind, scale, parameter, _ = sigma
    depth, one = len(widths) - 1, splat(1.0)
    for b in range(widths[0]):
        store(w, f + b, broadcast(x, b))
    store(w, f + widths[0], one)
    for layer in range(1, depth + 1):
        into, at = widths[layer - 1], weight[layer]
        below, here = f + feature[layer - 1], f + feature[layer]
        for j in range(widths[layer]):
            z = load(theta, at + widths[layer] * into + j)
            for b in range(into):
                z = fma(load(theta, at + j * into + b), load(w, below + b), z)
            if layer < depth:
                z = value_with(kind, parameter, z * splat(scale), False, const)
                slope = pull(kind, parameter, one, z, z)
                store(w, s1 + neuron[layer] + j, slope)
                store(w, s2 + neuron[layer] + j, second(kind, parameter, z, slope))
            store(w, here + j, z)
        store(w, here + widths[layer], one)


@inlined
def softmax(f: int, k: int, w: Memory) -> None:
    """The k outputs at w[f] become probabilities."""
    top, whole = load(w, f), splat(0.0)
    for o in range(1, k):
        top = select(top < load(w, f + o), load(w, f + o), top)
    for o in range(k):
        power = expm1((load(w, f + o) - top) * splat(TO_UNIT)) + splat(1.0)
        store(w, f + o, power)
        whole = whole + power
    for o in range(k):
        store(w, f + o, load(w, f + o) / whole)


@inlined
def loss_terms(risk: Risk, net: Net, y: Memory, w: Memory) -> None:
    """delta_L and S_LL of the sample with its targets at y, from the outputs."""
    widths, neuron, feature, _, _, places = net
    depth, k, size = len(widths) - 1, widths[-1], neuron[-1] + widths[-1]
    f, delta = places.f + feature[depth], places.delta + neuron[depth]
    s = places.s + neuron[depth] * (size + 1)
    zero, one, unit_of = splat(0.0), splat(1.0), splat(risk.unit)
    if risk.entropy:  # with probabilities p: delta = (p - y) / n, S = (diag(p) - p p^T) / n
        softmax(f, k, w)
    for o in range(k):
        q = load(w, f + o)
        store(w, delta + o, (q - broadcast(y, o)) * unit_of)
        for r in range(k):
            own = one if o == r else zero
            bent = q * (own - load(w, f + r)) if risk.entropy else own
            store(w, s + o * size + r, bent * unit_of)


@inlined
def back(net: Net, theta: Memory, w: Memory) -> None:
    """delta of every layer, and sigma'' W^T delta in place of sigma''."""
    widths, neuron, _, weight, _, (_, s1, s2, delta, _, _, _) = net
    for layer in range(len(widths) - 2, 0, -1):
        above = delta + neuron[layer + 1]
        for a in range(widths[layer]):
            pulled, at, here = splat(0.0), weight[layer + 1] + a, neuron[layer] + a
            for j in range(widths[layer + 1]):
                pulled = fma(load(theta, at + j * widths[layer]), load(w, above + j), pulled)
            store(w, delta + here, pulled * load(w, s1 + here))
            store(w, s2 + here, pulled * load(w, s2 + here))


@inlined
def inner_slopes(net: Net, theta: Memory, w: Memory) -> None:
    """df^[q]/dz_l for hidden layers l <= q."""
    widths, neuron, _, weight, _, (_, s1, _, _, e, _, _) = net
    depth, size = len(widths) - 1, neuron[-1] + widths[-1]
    for layer in range(1, depth):
        for a in range(widths[layer]):
            column = e + neuron[layer] + a
            for d in range(widths[layer]):
                own = load(w, s1 + neuron[layer] + a) if a == d else splat(0.0)
                store(w, column + (neuron[layer] + d) * size, own)
        for q in range(layer + 1, depth):
            for d in range(widths[q]):
                at, slope = weight[q] + d * widths[q - 1], load(w, s1 + neuron[q] + d)
                for a in range(widths[layer]):
                    through, column = splat(0.0), e + neuron[layer] + a
                    for j in range(widths[q - 1]):
                        inner = load(w, column + (neuron[q - 1] + j) * size)
                        through = fma(load(theta, at + j), inner, through)
                    store(w, column + (neuron[q] + d) * size, through * slope)


@inlined
def sensitivities(bent: bool, net: Net, theta: Memory, w: Memory) -> None:
    """S_ll' for l <= l' from S_LL; with the terms in sigma'' when `bent`."""
    widths, neuron, _, weight, _, (_, s1, s2, _, _, s, _) = net
    depth, size = len(widths) - 1, neuron[-1] + widths[-1]
    for low in range(depth - 1, 0, -1):
        for high in range(depth, low - 1, -1):
            for a in range(widths[low]):
                at, row = weight[low + 1] + a, s + (neuron[low] + a) * size + neuron[high]
                for c in range(widths[high]):
                    through = splat(0.0)
                    for j in range(widths[low + 1]):
                        # S_(l+1)l is the transpose of S_l(l+1), just found
                        above, right = neuron[low + 1] + j, neuron[high] + c
                        place = above * size + right if high > low else right * size + above
                        g = load(theta, at + j * widths[low])
                        through = fma(g, load(w, s + place), through)
                    through = through * load(w, s1 + neuron[low] + a)
                    if bent and high == low and a == c:
                        through = through + load(w, s2 + neuron[low] + a)
                    store(w, row + c, through)


@inlined
def add(bent: bool, net: Net, w: Memory, h: Memory) -> None:
    """Add the sample to the sums at h, one for each pair of parameters in the order of
    `lib.curvature.lanes.pairs`."""
    widths, neuron, feature, _, bias, (f, _, _, delta, e, s, row) = net
    depth, size, at = len(widths) - 1, neuron[-1] + widths[-1], 0
    for low in range(1, depth + 1):
        for a in range(widths[low]):
            for high in range(low, depth + 1):
                into, ends = widths[high - 1], widths[high - 1] + bias[high]
                for c in range(a if high == low else 0, widths[high]):
                    both = load(w, s + (neuron[low] + a) * size + neuron[high] + c)
                    for d in range(ends):
                        g = both * load(w, f + feature[high - 1] + d)
                        if bent and high > low and d < into:
                            inner = load(w, e + (neuron[high - 1] + d) * size + neuron[low] + a)
                            g = fma(load(w, delta + neuron[high] + c), inner, g)
                        store(w, row + d, g)
                    for b in range(widths[low - 1] + bias[low]):
                        g = load(w, f + feature[low - 1] + b)
                        for d in range(b if high == low and c == a else 0, ends):
                            store(h, at, fma(g, load(w, row + d), load(h, at)))
                            at += 1


@njit
def spread(u: int, sums: Floats, found: Found) -> None:
    """Write the sums of unit u, one of its lanes for each net, into both triangles."""
    pairs, h = found
    for part in range(len(sums)):
        for at in range(len(pairs)):
            p, q = pairs[at]
            for lane in range(min(LANES, h.shape[1] - LANES * u)):
                entry = sums[part, at * LANES + lane]
                h[part, LANES * u + lane, p, q] = entry
                h[part, LANES * u + lane, q, p] = entry


@cached("lib._simd.pointwise")
def run(
    first: int, last: int, sigma: Sigma, risk: Risk, net: Net, theta: Floats, sample: Sample,
    job: tuple[Work, Found],
) -> None:  # fmt: skip
    """The Hessians of the units first..last - 1, whole, or in two parts where there are two sums.

    theta: the units, vectors of eight nets, in the order of `flatten` with a bias everywhere."""
    (sums, scratch), found = job
    const, w, widths, split = in_lanes(sigma.table), address(scratch), net.widths, len(sums) == 2
    size, full = net.neuron[-1] + widths[-1], net.weight[-1] + widths[-1] * (widths[-2] + 1)
    last_rows = net.places.s + net.neuron[-1] * size
    # Addresses, and no slices, which would count references: the threads share these arrays.
    nets, x, y = address(theta), address(sample.x), address(sample.y)
    whole, rest = address(sums[0]), address(sums[-1])
    for u in range(first, last):
        sums[:] = 0.0
        here = nets + NUMBER * LANES * full * u
        for i in range(len(sample.x)):
            forward(sigma, const, net, here, x + NUMBER * widths[0] * i, w)
            loss_terms(risk, net, y + NUMBER * widths[-1] * i, w)
            back(net, here, w)
            inner_slopes(net, here, w)
            sensitivities(not split, net, here, w)
            add(not split, net, w, whole)
            if split:
                for o in range(widths[-1] * size):  # the second part starts from S_LL = 0
                    store(w, last_rows + o, splat(0.0))
                sensitivities(True, net, here, w)
                add(True, net, w, rest)
        spread(u, sums, found)
