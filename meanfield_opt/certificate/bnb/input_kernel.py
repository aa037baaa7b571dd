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

from .kernels import MAX_DEPTH, NEAR, copositive, copy, cut, longest_edge


@njit(cache=True, nogil=True)
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
    linear,
    spots,
    small,
    vectors,
    h,
    side,
):
    """Refine each cone (n, r, r) depth first until its parts pass at ``level``; at most ``budget`` nodes a cone.

    rows (P, r), size (P,) = |a_p|_1, weight (P, d) = (s+ - s-) Z^T, base (d, r) = s- Z A,
    metric (r,): |theta|^2 is sum_l metric_l theta_l^2.
    Writes the preorder op stream, the leaves with their status (1: passes at ``final``, 0: at ``level``, -1: not yet),
    the best ratio |q|^2/|theta|^2 seen with its theta into ``best``, and spans[n] = (ops so far, leaves so far).
    Returns the number of cones treated.
    """
    n_rows, r = rows.shape
    d = weight.shape[1]
    npairs = r * (r - 1) // 2
    capacity = pool.size
    start, length = spots[0], spots[1]
    v, m, work, clipped = small[0], small[1], small[2], small[3]
    mine, mid, rad, exact = linear[MAX_DEPTH], linear[MAX_DEPTH + 1], linear[MAX_DEPTH + 2], linear[MAX_DEPTH + 3]
    q, turn, z = vectors[0], vectors[1], vectors[2]
    n_ops = 0
    n_leaves = 0
    for item in range(cones.shape[0]):
        if n_ops + 2 * budget + 4 * MAX_DEPTH > ops.size:
            return item
        first_op = n_ops
        copy(cones, item, vs, 0, r)
        for k in range(d):
            for i in range(r):
                linear[0, k, i] = base[k, i]
        for p in range(n_rows):
            pool[p] = p
        start[0] = 0
        length[0] = n_rows
        top = 0
        while top >= 0:
            for i in range(r):
                for l in range(r):
                    v[i, l] = vs[top, i, l]
            if n_ops - first_op >= budget or top + 2 >= MAX_DEPTH or start[top] + 2 * length[top] + 8 > capacity:
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, r)
                status[n_leaves] = -1
                n_leaves += 1
                top -= 1
                continue
            for k in range(d):
                for i in range(r):
                    mine[k, i] = linear[top, k, i]
            s0 = start[top]
            s1 = s0 + length[top]
            kept = 0
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
                near = NEAR * size[p]
                if low >= -near:
                    for k in range(d):
                        for i in range(r):
                            mine[k, i] += weight[p, k] * rows[p, i]
                elif high > near:
                    pool[s1 + kept] = p
                    side[kept] = total > 0.0
                    kept += 1
            # q at the centre, and the reflection that turns it to the first axis
            for k in range(d):
                q[k] = 0.0
                for i in range(r):
                    x = 0.0
                    for l in range(r):
                        x += mine[k, l] * v[i, l]
                    mid[k, i] = x
                    q[k] += x
            for a in range(kept):
                total = 0.0
                for i in range(r):
                    total += h[a, i]
                if total > 0.0:
                    p = pool[s1 + a]
                    for k in range(d):
                        q[k] += weight[p, k] * total
            norm = 0.0
            for k in range(d):
                norm += q[k] * q[k]
            length_c = 0.0
            for l in range(r):
                x = 0.0
                for i in range(r):
                    x += v[i, l]
                length_c += metric[l] * x * x
            if norm > best[0] * length_c:
                best[0] = norm / length_c
                for l in range(r):
                    x = 0.0
                    for i in range(r):
                        x += v[i, l]
                    best[1 + l] = x
            hit = norm > level * length_c
            scale = 0.0
            if norm > 1e-12 * level * length_c and d > 1:
                norm = np.sqrt(norm)
                for k in range(d):
                    turn[k] = q[k] / norm
                turn[0] += 1.0 if turn[0] >= 0.0 else -1.0
                x = 0.0
                for k in range(d):
                    x += turn[k] * turn[k]
                scale = 2.0 / x
                for i in range(r):
                    x = 0.0
                    for k in range(d):
                        x += turn[k] * mid[k, i]
                    x *= scale
                    for k in range(d):
                        mid[k, i] -= x * turn[k]
            for k in range(d):
                for i in range(r):
                    exact[k, i] = mid[k, i]
                    rad[k, i] = 0.0
            for a in range(kept):
                p = pool[s1 + a]
                for k in range(d):
                    z[k] = weight[p, k]
                if scale > 0.0:
                    x = 0.0
                    for k in range(d):
                        x += turn[k] * z[k]
                    x *= scale
                    for k in range(d):
                        z[k] -= x * turn[k]
                for i in range(r):
                    x = h[a, i]
                    upper = x if x > 0.0 else 0.0
                    lower = x if side[a] else 0.0
                    half = 0.5 * (upper - lower)
                    middle = 0.5 * (upper + lower)
                    for k in range(d):
                        mid[k, i] += z[k] * middle
                        rad[k, i] += abs(z[k]) * half
                        exact[k, i] += z[k] * upper
            for i in range(r):
                x = 0.0
                for k in range(d):
                    x += exact[k, i] * exact[k, i]
                y = 0.0
                for l in range(r):
                    y += metric[l] * v[i, l] * v[i, l]
                if x > best[0] * y:
                    best[0] = x / y
                    for l in range(r):
                        best[1 + l] = v[i, l]
                if x > level * y:
                    hit = True
            passed = False
            good = False
            if not hit:
                for i in range(r):
                    for j in range(i + 1):
                        x = 0.0
                        for l in range(r):
                            x += metric[l] * v[i, l] * v[j, l]
                        x *= level
                        for k in range(d):
                            x -= mid[k, i] * mid[k, j] + abs(mid[k, i]) * rad[k, j]
                            x -= rad[k, i] * abs(mid[k, j]) + rad[k, i] * rad[k, j]
                        m[i, j] = x
                        m[j, i] = x
                passed = copositive(m, r, work, clipped)
                if passed:
                    good = final >= level
                    if not good:
                        for i in range(r):
                            for j in range(r):
                                x = 0.0
                                for l in range(r):
                                    x += metric[l] * v[i, l] * v[j, l]
                                m[i, j] -= (level - final) * x
                        good = copositive(m, r, work, clipped)
            if passed or r == 1 or hit:
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, r)
                status[n_leaves] = 1 if good else (0 if passed else -1)
                n_leaves += 1
                top -= 1
                if hit:
                    # the level is too low: hand everything back, the caller raises it
                    while top >= 0:
                        ops[n_ops] = 0
                        n_ops += 1
                        copy(vs, top, leaves, n_leaves, r)
                        status[n_leaves] = -1
                        n_leaves += 1
                        top -= 1
                    spans[item, 0] = n_ops
                    spans[item, 1] = n_leaves
                    return item + 1
                continue
            # where to cut: across the row that is worst, or in the middle of the edge that costs most
            op = -1
            alpha = 0.5
            choice = 0
            low_end = 0
            high_end = 1
            if 0 < kept <= few:
                worst = 0.0
                for a in range(kept):
                    p = pool[s1 + a]
                    i = 0
                    j = 0
                    for k in range(1, r):
                        if h[a, k] > h[a, i]:
                            i = k
                        if h[a, k] < h[a, j]:
                            j = k
                    x = 0.0
                    for k in range(d):
                        x += weight[p, k] * weight[p, k]
                    x = np.sqrt(x) * min(h[a, i], -h[a, j])
                    if min(h[a, i], -h[a, j]) > 1e-7 * size[p] and x > worst:
                        worst = x
                        op = p
                        low_end = min(i, j)
                        high_end = max(i, j)
                        choice = low_end * r - low_end * (low_end + 1) // 2 + (high_end - low_end - 1)
                        alpha = h[a, low_end] / (h[a, low_end] - h[a, high_end])
            if op < 0:
                choice, low_end, high_end = longest_edge(v, r)
                alpha = 0.5
            ops[n_ops] = 1 + choice + npairs * (op + 1)
            n_ops += 1
            for k in range(d):
                for i in range(r):
                    linear[top, k, i] = mine[k, i]
                    linear[top + 1, k, i] = mine[k, i]
            start[top] = s1
            length[top] = kept
            start[top + 1] = s1
            length[top + 1] = kept
            # the first child is on top of the stack
            cut(vs, top, low_end, high_end, alpha)
            top += 1
        spans[item, 0] = n_ops
        spans[item, 1] = n_leaves
    return cones.shape[0]
