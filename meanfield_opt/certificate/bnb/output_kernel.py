"""The compiled search of the output view: f(omega) <= level |w|^2 + beta^T M beta on simplicial cones.

f = sum_p max(0, a_p.omega, b_p.omega)^2; see ``checker.output_view``. Rows with one active piece on a cone enter the
quadratic form exactly and are summed once for all of its descendants; the others enter by their chords.
"""

from __future__ import annotations

from numba import njit

from .kernels import MAX_DEPTH, NEAR, copositive, copy, cut, longest_edge


@njit(cache=True, nogil=True)
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
    sums,
    spots,
    small,
):
    """As ``input_kernel.refine_input``: first, second (P, n) are the rows a_p, b_p; columns (k, k) is M.

    pool, vs, sums, spots, small are workspace from ``kernels.workspace``.
    """
    n_rows, n = first.shape
    capacity = pool.size
    start, length = spots[0], spots[1]
    v, mine, product, m, work, clipped = small[0], small[1], small[2], small[3], small[4], small[5]
    chord = small[6, 0]
    n_ops = 0
    n_leaves = 0
    for item in range(cones.shape[0]):
        if n_ops + 2 * budget + 4 * MAX_DEPTH > ops.size:
            return item
        first_op = n_ops
        copy(cones, item, vs, 0, n)
        for i in range(n):
            for l in range(n):
                sums[0, i, l] = 0.0
        for p in range(n_rows):
            pool[p] = p
        start[0] = 0
        length[0] = n_rows
        top = 0
        stop = False
        while top >= 0:
            for i in range(n):
                for l in range(n):
                    v[i, l] = vs[top, i, l]
            if (
                stop
                or n_ops - first_op >= budget
                or top + 2 >= MAX_DEPTH
                or start[top] + 2 * length[top] + 8 > capacity
            ):
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, n)
                status[n_leaves] = -1
                n_leaves += 1
                top -= 1
                continue
            for i in range(n):
                for l in range(n):
                    mine[i, l] = sums[top, i, l]
                    m[i, l] = 0.0
            s0 = start[top]
            s1 = s0 + length[top]
            kept = 0
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
                            mine[i, l] += first[p, i] * first[p, l]
                elif two:
                    for i in range(n):
                        for l in range(i + 1):
                            mine[i, l] += second[p, i] * second[p, l]
                else:
                    for i in range(n):
                        for l in range(i + 1):
                            m[i, l] -= chord[i] * chord[l]
                    pool[s1 + kept] = p
                    kept += 1
            for i in range(n):
                for l in range(i):
                    mine[l, i] = mine[i, l]
            for i in range(n):
                for l in range(n):
                    x = 0.0
                    for k in range(n):
                        x += v[i, k] * mine[k, l]
                    product[i, l] = x
            hit = False
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
                    m[i, j] = x + level * y
                    m[j, i] = m[i, j]
                    if i == j and y > 0.0 and -x > best[0] * y:
                        best[0] = -x / y
                        for l in range(n):
                            best[1 + l] = v[i, l]
                    if i == j and -x > level * y:
                        hit = True
            passed = False
            good = False
            if not hit:
                passed = copositive(m, n, work, clipped)
                if passed:
                    good = final >= level
                    if not good:
                        for i in range(n):
                            for j in range(n):
                                y = 0.0
                                for l in range(d):
                                    y += v[i, l] * v[j, l]
                                m[i, j] -= (level - final) * y
                        good = copositive(m, n, work, clipped)
            if passed or n == 1 or hit:
                ops[n_ops] = 0
                n_ops += 1
                copy(vs, top, leaves, n_leaves, n)
                status[n_leaves] = 1 if good else (0 if passed else -1)
                n_leaves += 1
                top -= 1
                stop = hit
                continue
            choice, pi, pj = longest_edge(v, n)
            ops[n_ops] = 1 + choice
            n_ops += 1
            for i in range(n):
                for l in range(n):
                    sums[top, i, l] = mine[i, l]
                    sums[top + 1, i, l] = mine[i, l]
            start[top] = s1
            length[top] = kept
            start[top + 1] = s1
            length[top + 1] = kept
            cut(vs, top, pi, pj, 0.5)
            top += 1
        spans[item, 0] = n_ops
        spans[item, 1] = n_leaves
        if stop:
            return item + 1
    return cones.shape[0]
