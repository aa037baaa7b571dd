"""The compiled search of the output view: f(omega) <= level |w|^2 + beta^T M beta on simplicial cones.

f = sum_p max(0, a_p.omega, b_p.omega)^2; see ``checker.output_view``. Rows with one active piece on a cone enter the
quadratic form exactly and are summed once for all of its descendants; the others enter by their chords.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import MAX_DEPTH, NEAR, copositive, copy, cut, longest_edge


@njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, no_cfunc_wrapper=True)
def refine_output(  # type: ignore[no-untyped-def]
    cones,
    first,
    second,
    size,
    columns,
    d,
    level,
    final,
    budget,
    ops,
    leaves,
    status,
    best,
    spans,
    pool,
    vs,
    spots,
    sums,
    v,
    product,
    m,
    gram,
    work,
    chord,
):
    """As ``input_kernel.refine_input``: first, second (P, n) are the rows a_p, b_p; columns (k, k) is M.

    pool, vs, spots are from ``kernels.workspace``; sums (MAX_DEPTH, n, n), v, product, m, gram, work (n, n), chord (n,) are
    room to work in.
    """
    n_rows, n = first.shape
    # not the literal, for which the helpers would be compiled once more
    zero = np.int64(0)
    n_ops = zero
    n_leaves = zero
    for item in range(cones.shape[0]):
        if n_ops + 2 * budget + 4 * MAX_DEPTH > ops.size:
            return item
        last_op = n_ops + budget
        top = zero
        copy(cones, item, vs, top, n)
        for i in range(n):
            for l in range(n):
                sums[top, i, l] = 0.0
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
                for i in range(n):
                    for l in range(n):
                        v[i, l] = vs[top, i, l]
                        m[i, l] = 0.0
                for index in range(s0, s1):
                    p = pool[index]
                    near = NEAR * size[p]
                    off = True
                    one = True
                    two = True
                    for i in range(n):
                        x = first[p, 0] * v[i, 0]
                        y = second[p, 0] * v[i, 0]
                        for k in range(1, n):
                            x += first[p, k] * v[i, k]
                            y += second[p, k] * v[i, k]
                        if x > near or y > near:
                            off = False
                        if not (x >= -near and x - y >= -near):
                            one = False
                        if not (y >= -near and y - x >= -near):
                            two = False
                        chord[i] = max(x, y, 0.0)
                    if off:
                        continue
                    if one:
                        for i in range(n):
                            for l in range(i + 1):
                                sums[top, i, l] += first[p, i] * first[p, l]
                    elif two:
                        for i in range(n):
                            for l in range(i + 1):
                                sums[top, i, l] += second[p, i] * second[p, l]
                    else:
                        for i in range(n):
                            for l in range(i + 1):
                                m[i, l] -= chord[i] * chord[l]
                        pool[s1 + kept] = p
                        kept += 1
                for i in range(n):
                    for l in range(i):
                        sums[top, l, i] = sums[top, i, l]
                for i in range(n):
                    for l in range(n):
                        x = 0.0
                        for k in range(n):
                            x += v[i, k] * sums[top, k, l]
                        product[i, l] = x
                for i in range(n):
                    for j in range(i + 1):
                        x = m[i, j]
                        for l in range(n):
                            x -= product[i, l] * v[j, l]
                        for l in range(d, n):
                            for k in range(d, n):
                                x += v[i, l] * columns[l - d, k - d] * v[j, k]
                        y = 0.0
                        for l in range(d):
                            y += v[i, l] * v[j, l]
                        gram[i, j] = y
                        gram[j, i] = y
                        m[i, j] = x + level * y
                        m[j, i] = m[i, j]
                    # x and y belong to generator i alone, as the last j was i
                    if y > 0.0 and -x > best[0] * y:
                        best[0] = -x / y
                        for l in range(n):
                            best[1 + l] = v[i, l]
                    stop = stop or -x > level * y
                while not stop and passed < 1 and copositive(m, n, work):
                    passed += 1
                    if final >= level:
                        passed = 1
                    for i in range(n):
                        for j in range(n):
                            m[i, j] -= (level - final) * gram[i, j]
                leaf = passed >= 0 or n == 1 or stop
            if leaf:
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, n)
                status[n_leaves] = passed
                n_leaves += 1
                top -= 1
                continue
            i, j = longest_edge(vs, top, n)
            ops[n_ops] = 1 + i * n - i * (i + 1) // 2 + (j - i - 1)
            n_ops += 1
            copy(sums, top, sums, top + 1, n)
            for k in range(2):
                spots[0, top + k] = s1
                spots[1, top + k] = kept
            cut(vs, top, i, j, 0.5, n)
            top += 1
        spans[item, 0] = n_ops
        spans[item, 1] = n_leaves
        if stop:
            return item + 1
    return cones.shape[0]
