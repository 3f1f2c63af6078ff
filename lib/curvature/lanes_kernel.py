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

from numba import njit

from lib._simd.compiled import cached
from lib._simd.lanes import LANES, address, broadcast, fma, load, select, splat, store
from lib._simd.pointwise import ELU, SIGMOID, TANH, expm1, in_lanes, pull, unit, value_with

TO_UNIT = unit(ELU)  # of e^z


@njit
def second(kind, parameter, t, s1):
    """sigma''(z), given sigma(z) and sigma'(z)."""
    if kind == TANH:
        return splat(-2.0) * t * s1
    if kind == SIGMOID:
        return s1 * (splat(1.0) - splat(2.0) * t)
    if kind == ELU:
        return select(splat(0.0) < t, splat(0.0), t + splat(parameter))
    return splat(0.0)


@njit(inline="always")
def forward(kind, scale, parameter, const, net, theta, p, x, i, w):
    """f^[l] with a 1 behind it, and sigma' and sigma'' of every neuron, for sample i of the unit at
    theta[p].

    net describes the shape: the widths, where in the scratch, in units of vectors, the neurons and
        features of each layer
    begin, where in theta its weights do, whether it has biases, and where in the scratch w each
    kind of number lies."""
    widths, neuron, feature, weight, _, places = net
    f, s1, s2 = places[:3]
    depth, one = len(widths) - 1, splat(1.0)
    for b in range(widths[0]):
        store(w, f + b, broadcast(x, i * widths[0] + b))
    store(w, f + widths[0], one)
    for layer in range(1, depth + 1):
        into, below, here, at = (
            widths[layer - 1],
            f + feature[layer - 1],
            f + feature[layer],
            p + weight[layer],
        )
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


@njit(inline="always")
def loss_terms(entropy, scale, net, y, i, w):
    """delta_L and S_LL of sample i, from the outputs; scale is 2 / (n k), or 1 / n for the cross
    entropy."""
    widths, neuron, feature, _, _, places = net
    depth, k, size = len(widths) - 1, widths[-1], neuron[-1] + widths[-1]
    f, delta, s = (
        places[0] + feature[depth],
        places[3] + neuron[depth],
        places[5] + neuron[depth] * (size + 1),
    )
    zero, one, unit_of = splat(0.0), splat(1.0), splat(scale)
    if entropy:  # with probabilities p: delta = (p - y) / n, S = (diag(p) - p p^T) / n
        top, whole = load(w, f), zero
        for o in range(1, k):
            top = select(top < load(w, f + o), load(w, f + o), top)
        for o in range(k):
            power = expm1((load(w, f + o) - top) * splat(TO_UNIT)) + one
            store(w, f + o, power)
            whole = whole + power
        for o in range(k):
            store(w, f + o, load(w, f + o) / whole)
    for o in range(k):
        q = load(w, f + o)
        store(w, delta + o, (q - broadcast(y, i * k + o)) * unit_of)
        for r in range(k):
            own = one if o == r else zero
            store(w, s + o * size + r, (q * (own - load(w, f + r)) if entropy else own) * unit_of)


@njit(inline="always")
def back(net, theta, p, w):
    """delta of every layer, sigma'' W^T delta in place of sigma'', and df^[q]/dz_l for hidden
    layers l <= q."""
    widths, neuron, _, weight, _, places = net
    _, s1, s2, delta, e, _, _ = places
    depth, size, zero = len(widths) - 1, neuron[-1] + widths[-1], splat(0.0)
    for layer in range(depth - 1, 0, -1):
        for a in range(widths[layer]):
            pulled, at = zero, p + weight[layer + 1] + a
            for j in range(widths[layer + 1]):
                pulled = fma(
                    load(theta, at + j * widths[layer]),
                    load(w, delta + neuron[layer + 1] + j),
                    pulled,
                )
            store(w, delta + neuron[layer] + a, pulled * load(w, s1 + neuron[layer] + a))
            store(w, s2 + neuron[layer] + a, pulled * load(w, s2 + neuron[layer] + a))
    for layer in range(1, depth):
        for a in range(widths[layer]):
            for d in range(widths[layer]):
                own = load(w, s1 + neuron[layer] + a) if a == d else zero
                store(w, e + (neuron[layer] + d) * size + neuron[layer] + a, own)
        for q in range(layer + 1, depth):
            for d in range(widths[q]):
                at = p + weight[q] + d * widths[q - 1]
                for a in range(widths[layer]):
                    through = zero
                    for j in range(widths[q - 1]):
                        inner = load(w, e + (neuron[q - 1] + j) * size + neuron[layer] + a)
                        through = fma(load(theta, at + j), inner, through)
                    store(
                        w,
                        e + (neuron[q] + d) * size + neuron[layer] + a,
                        through * load(w, s1 + neuron[q] + d),
                    )


@njit(inline="always")
def sensitivities(bent, net, theta, p, w):
    """S_ll' for l <= l' from S_LL; with the terms in sigma'' when `bent`."""
    widths, neuron, _, weight, _, places = net
    _, s1, s2, _, _, s, _ = places
    depth, size = len(widths) - 1, neuron[-1] + widths[-1]
    for low in range(depth - 1, 0, -1):
        for high in range(depth, low - 1, -1):
            for a in range(widths[low]):
                at, row = p + weight[low + 1] + a, s + (neuron[low] + a) * size + neuron[high]
                for c in range(widths[high]):
                    through = splat(0.0)
                    for j in range(widths[low + 1]):
                        # S_(l+1)l is the transpose of S_l(l+1), just found
                        above, right = neuron[low + 1] + j, neuron[high] + c
                        place = above * size + right if high > low else right * size + above
                        through = fma(
                            load(theta, at + j * widths[low]), load(w, s + place), through
                        )
                    through = through * load(w, s1 + neuron[low] + a)
                    if bent and high == low and a == c:
                        through = through + load(w, s2 + neuron[low] + a)
                    store(w, row + c, through)


@njit(inline="always")
def add(bent, net, w, h):
    """Add the sample to the sums at h, one for each pair of parameters in the order of
    `lib.curvature.lanes.pairs`."""
    widths, neuron, feature, _, bias, places = net
    f, _, _, delta, e, s, row = places
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


@cached("lib._simd.pointwise")
def run(
    first,
    last,
    kind,
    scale,
    parameter,
    table,
    entropy,
    per,
    split,
    net,
    theta,
    x,
    y,
    n,
    h,
    w,
    pairs,
    sums,
):
    """Units first..last: sums (1 or 2, nets, M, M), whose entries in the order of `add` are pairs
    (entries, 2).

    scale is the unit of the activation, per that of the loss.
    """
    theta_at, x_at, y_at, w_at, const = (
        address(theta),
        address(x),
        address(y),
        address(w),
        in_lanes(table),
    )
    widths, neuron, _, weight, _, places = net
    size, full = neuron[-1] + widths[-1], weight[-1] + widths[-1] * (widths[-2] + 1)
    for u in range(first, last):
        h[:] = 0.0
        for i in range(n):
            forward(kind, scale, parameter, const, net, theta_at, u * full, x_at, i, w_at)
            loss_terms(entropy, per, net, y_at, i, w_at)
            back(net, theta_at, u * full, w_at)
            sensitivities(not split, net, theta_at, u * full, w_at)
            add(not split, net, w_at, address(h[0]))
            if split:
                for o in range(
                    widths[-1] * size
                ):  # the second part starts from S_LL = 0: its rows end the matrix
                    store(w_at, places[5] + neuron[-1] * size + o, splat(0.0))
                sensitivities(True, net, theta_at, u * full, w_at)
                add(True, net, w_at, address(h[1]))
        for part in range(len(h)):
            for at in range(len(pairs)):
                p, q = pairs[at]
                for lane in range(min(LANES, sums.shape[1] - LANES * u)):
                    entry = h[part, at * LANES + lane]
                    sums[part, LANES * u + lane, p, q] = entry
                    sums[part, LANES * u + lane, q, p] = entry
