"""The compiled search of the input view: sup over theta of |Z phi(A theta)|^2 - level |theta|^2 on simplicial cones.

On a cone each relu(a.theta) lies between its chord (values at the generators) and a tangent, so q = Z phi(A theta) =
m lam + e with |e_k| <= rho_k lam for theta = V^T lam, lam >= 0, and
|q|^2 <= lam^T [sum_k m_k m_k^T + |m_k| rho_k^T + rho_k |m_k|^T + rho_k rho_k^T] lam. Outputs are first turned so that
the first axis points along q at the cone's centre, where the relaxation is then one-sided and tight.
Rows of one sign on the cone are exact and are summed once for all of its descendants.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import INNER, MAX_DEPTH, NEAR, copositive, copy, cut, longest_edge


@njit(cache=True, nogil=True, **INNER)
def _reflect(x, i, normal, scale):  # type: ignore[no-untyped-def]
    """Reflect column i of x at the plane with this normal; scale is 2 / |normal|^2, or 0 for no reflection."""
    if scale > 0.0:
        t = 0.0
        for k in range(normal.size):
            t += normal[k] * x[k, i]
        t *= scale
        for k in range(normal.size):
            x[k, i] -= t * normal[k]


@njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, no_cfunc_wrapper=True)
def refine_input(  # type: ignore[no-untyped-def]
    cones,
    rows,
    size,
    weight,
    base,
    metric,
    level,
    final,
    few,
    budget,
    ops,
    leaves,
    status,
    best,
    spans,
    pool,
    vs,
    spots,
    linear,
    mid,
    rad,
    exact,
    v,
    m,
    gram,
    work,
    turn,
    z,
    h,
):
    """Refine each cone (n, r, r) depth first until its parts pass at ``level``; at most ``budget`` nodes a cone.

    rows (P, r), size (P,) = |a_p|_1, weight (P, d) = (s+ - s-) Z^T, base (1, d, r) = s- Z A,
    metric (r,): |theta|^2 is sum_l metric_l theta_l^2.
    Writes the preorder op stream, the leaves with their status (1: passes at ``final``, 0: at ``level``, -1: not yet),
    the best ratio |q|^2/|theta|^2 seen with its theta into ``best``, and spans[n] = (ops so far, leaves so far).
    Returns the number of cones treated. If a cone shows that the level is too low, the rest of it is handed back: the
    caller raises the level.

    pool, vs, spots are from ``kernels.workspace``; linear (MAX_DEPTH, d, r), mid, rad, exact (d, r), v, m, gram, work (r, r),
    turn (d,), z (d, 1), h (P, r + 1) are room to work in. What a step needs stands here once and in loops over numbers:
    compiling costs by the statement.
    """
    n_rows, r = rows.shape
    d = weight.shape[1]
    # not the literal, for which the helpers would be compiled once more
    zero = np.int64(0)
    n_ops = zero
    n_leaves = zero
    for item in range(cones.shape[0]):
        if n_ops + 2 * budget + 4 * MAX_DEPTH > ops.size:
            return item
        last_op = n_ops + budget
        top = zero
        copy(cones, item, vs, top, r)
        copy(base, top, linear, top, d)
        spots[0, 0] = 0
        spots[1, 0] = n_rows
        stop = False
        while top >= 0:
            s0 = spots[0, top]
            s1 = s0 + spots[1, top]
            kept = 0
            passed = -1
            leaf = stop or n_ops >= last_op or top + 2 >= MAX_DEPTH or s1 + spots[1, top] + 8 > pool.size
            if not leaf:
                for i in range(r):
                    for k in range(r):
                        v[i, k] = vs[top, i, k]
                for index in range(s0, s1):
                    p = pool[index]
                    low = np.inf
                    high = -np.inf
                    total = 0.0
                    for i in range(r):
                        x = rows[p, 0] * v[i, 0]
                        for k in range(1, r):
                            x += rows[p, k] * v[i, k]
                        h[kept, i] = x
                        total += x
                        low = min(low, x)
                        high = max(high, x)
                    if low >= -NEAR * size[p]:
                        for k in range(d):
                            for i in range(r):
                                linear[top, k, i] += weight[p, k] * rows[p, i]
                    elif high > NEAR * size[p]:
                        h[kept, r] = total
                        pool[s1 + kept] = p
                        kept += 1
                # q at the centre (turn), and the reflection that turns it to the first axis
                for k in range(d):
                    turn[k] = 0.0
                    for i in range(r):
                        x = 0.0
                        for l in range(r):
                            x += linear[top, k, l] * v[i, l]
                        mid[k, i] = x
                        turn[k] += x
                for a in range(kept):
                    if h[a, r] > 0.0:
                        for k in range(d):
                            turn[k] += weight[pool[s1 + a], k] * h[a, r]
                norm = 0.0
                for k in range(d):
                    norm += turn[k] * turn[k]
                y = 0.0
                for l in range(r):
                    x = 0.0
                    for i in range(r):
                        x += v[i, l]
                    m[0, l] = x
                    y += metric[l] * x * x
                if norm > best[0] * y:
                    best[0] = norm / y
                    for l in range(r):
                        best[1 + l] = m[0, l]
                stop = norm > level * y
                scale = 0.0
                if norm > 1e-12 * level * y and d > 1:
                    norm = np.sqrt(norm)
                    for k in range(d):
                        turn[k] /= norm
                    turn[0] += 1.0 if turn[0] >= 0.0 else -1.0
                    x = 0.0
                    for k in range(d):
                        x += turn[k] * turn[k]
                    scale = 2.0 / x
                for i in range(r):
                    _reflect(mid, i, turn, scale)
                    for k in range(d):
                        exact[k, i] = mid[k, i]
                        rad[k, i] = 0.0
                for a in range(kept):
                    p = pool[s1 + a]
                    for k in range(d):
                        z[k, 0] = weight[p, k]
                    _reflect(z, zero, turn, scale)
                    for i in range(r):
                        x = h[a, i]
                        upper = x if x > 0.0 else 0.0
                        lower = x if h[a, r] > 0.0 else 0.0
                        half = 0.5 * (upper - lower)
                        middle = 0.5 * (upper + lower)
                        for k in range(d):
                            mid[k, i] += z[k, 0] * middle
                            rad[k, i] += abs(z[k, 0]) * half
                            exact[k, i] += z[k, 0] * upper
                for i in range(r):
                    for j in range(i + 1):
                        y = 0.0
                        for l in range(r):
                            y += metric[l] * v[i, l] * v[j, l]
                        gram[i, j] = y
                        gram[j, i] = y
                        x = level * y
                        for k in range(d):
                            x -= mid[k, i] * mid[k, j] + abs(mid[k, i]) * rad[k, j]
                            x -= rad[k, i] * abs(mid[k, j]) + rad[k, i] * rad[k, j]
                        m[i, j] = x
                        m[j, i] = x
                    # y is |v_i|^2, as the last j was i
                    norm = 0.0
                    for k in range(d):
                        norm += exact[k, i] * exact[k, i]
                    if norm > best[0] * y:
                        best[0] = norm / y
                        for l in range(r):
                            best[1 + l] = v[i, l]
                    stop = stop or norm > level * y
                while not stop and passed < 1 and copositive(m, r, work):
                    passed += 1
                    if final >= level:
                        passed = 1
                    for i in range(r):
                        for j in range(r):
                            m[i, j] -= (level - final) * gram[i, j]
                leaf = passed >= 0 or r == 1 or stop
            if leaf:
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, r)
                status[n_leaves] = passed
                n_leaves += 1
                top -= 1
                continue
            # where to cut: across the row that is worst, or in the middle of the edge that costs most
            op = -1
            alpha = 0.5
            low_end = 0
            high_end = 1
            worst = 0.0
            for a in range(kept if kept <= few else 0):
                i = 0
                j = 0
                for k in range(1, r):
                    if h[a, k] > h[a, i]:
                        i = k
                    if h[a, k] < h[a, j]:
                        j = k
                x = 0.0
                p = pool[s1 + a]
                for k in range(d):
                    x += weight[p, k] * weight[p, k]
                y = min(h[a, i], -h[a, j])
                x = np.sqrt(x) * y
                if y > 1e-7 * size[p] and x > worst:
                    worst = x
                    op = p
                    low_end = min(i, j)
                    high_end = max(i, j)
                    alpha = h[a, low_end] / (h[a, low_end] - h[a, high_end])
            if op < 0:
                low_end, high_end = longest_edge(vs, top, r)
            choice = low_end * r - low_end * (low_end + 1) // 2 + (high_end - low_end - 1)
            ops[n_ops] = 1 + choice + r * (r - 1) // 2 * (op + 1)
            n_ops += 1
            copy(linear, top, linear, top + 1, d)
            for k in range(2):
                spots[0, top + k] = s1
                spots[1, top + k] = kept
            # the first child is on top of the stack
            cut(vs, top, low_end, high_end, alpha, r)
            top += 1
        spans[item, 0] = n_ops
        spans[item, 1] = n_leaves
        if stop:
            return item + 1
    return cones.shape[0]
