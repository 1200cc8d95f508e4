"""Operations of nets over sequences: recurrent layers and attention.

Each is one block, as in ``structured``. What users call, with its arguments read and checked, is in
``nn/recurrent.py`` and ``nn/functional.py``.
"""
from libc.stdint cimport uint32_t

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Call, launch, put, put_at
from microgradx._core.structured cimport linear, matmul, sum_axes
from microgradx._core.views cimport concat, contiguous, index, reshape

import cython
import numpy as np

from microgradx._core.launch import composite
from microgradx.errors import DTypeError, GraphError, ShapeError


# ----- recurrence: the steps of one recurrent layer in one direction -------------------------------------------------

cdef int RECURRENCE = kernel_row("recurrence"), RECURRENCE_VJP = kernel_row("recurrence_vjp")

# What a step is in operations: (the input's part of the gates, the state's part, the states) -> the next states, and a
# function of nothing that gives the local derivatives in the order of csrc/kernels.def. The backward step takes the
# derivatives and the gradients of the next states, and gives those of the gates' arguments, of the state's part of the
# gates, and of the states before it, but for what goes through the weights.


def _elman_step(str nonlinearity):
    def step(x, z, states):
        p = x + z
        y = getattr(p, nonlinearity)()
        return [y], lambda: [p.sech2() if nonlinearity == "tanh" else p.gt(0).astype(p.dtype)]
    return step


def _elman_step_vjp(d, grads):
    dx = grads[0].mul_no_nan(d[0])
    return [dx], [dx], [None]


def _gru_step(x, z, states):
    cdef Py_ssize_t h = x.shape[x.ndim - 1] // 3
    (pr, pz, pn), (r, u, m), s = x.split(h, -1), z.split(h, -1), states[0]
    pr, pz = pr + r, pz + u
    r, u = pr.sigmoid(), pz.sigmoid()
    pn = pn + r * m
    n = pn.tanh()
    return [n + u * (s - n)], lambda: [m * pr.dsigmoid(), (s - n) * pz.dsigmoid(), (-pz).sigmoid() * pn.sech2(), r, u]


def _gru_step_vjp(d, grads):
    dh, = grads
    dn, du = dh.mul_no_nan(d[2]), dh.mul_no_nan(d[1])
    dr = dn.mul_no_nan(d[0])
    return [dr, du, dn], [dr, du, dn.mul_no_nan(d[3])], [dh.mul_no_nan(d[4])]


def _lstm_step(x, z, states):
    c, gates = states[1], x + z
    i, f, g, o = args = gates.split(gates.shape[gates.ndim - 1] // 4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    after = f * c + i * g
    t = after.tanh()
    return [o * t, after], lambda: [g * args[0].dsigmoid(), c * args[1].dsigmoid(), i * args[2].sech2(),
                                    t * args[3].dsigmoid(), o * after.sech2(), f]


def _lstm_step_vjp(d, grads):
    dh, dc = grads
    dc = dc + dh.mul_no_nan(d[4])
    dx = [dc.mul_no_nan(d[0]), dc.mul_no_nan(d[1]), dc.mul_no_nan(d[2]), dh.mul_no_nan(d[3])]
    return dx, dx, [None, dc.mul_no_nan(d[5])]


@cython.final
cdef class Cell:
    """A kind of step: its number in csrc, its blocks of weights, its states, how many derivatives it keeps."""
    cdef readonly int number, gates, states, kept
    cdef readonly object step, step_vjp

    def __init__(self, int number, int gates, int states, int kept, step, step_vjp):
        self.number, self.gates, self.states, self.kept = number, gates, states, kept
        self.step, self.step_vjp = step, step_vjp


cells = {"tanh": Cell(MGX_CELL_TANH, 1, 1, 1, _elman_step("tanh"), _elman_step_vjp),
         "relu": Cell(MGX_CELL_RELU, 1, 1, 1, _elman_step("relu"), _elman_step_vjp),
         "gru": Cell(MGX_CELL_GRU, 3, 1, 5, _gru_step, _gru_step_vjp),
         "lstm": Cell(MGX_CELL_LSTM, 4, 2, 6, _lstm_step, _lstm_step_vjp)}
cdef list by_number = list(cells.values())


cdef list walked(tuple counts, bint reverse):
    """[(step, its first row, one behind its last)] in the order of the steps."""
    cdef list steps = []
    cdef Py_ssize_t row = 0
    for t, n in enumerate(counts):
        steps.append((t, row, row + n))
        row += n
    return steps[::-1] if reverse else steps


cdef Array stack(list states):
    """(states, m, h)."""
    return concat([s.unsqueeze(0) for s in states], 0)


cdef list replaced(list states, list after):
    """The states, of which the first rows are those ``after`` a step."""
    return [a if len(a) == len(s) else concat([a, s[len(a):]], 0) for a, s in zip(after, states)]


cdef tuple in_operations(Cell cell, x, u, c, start, tuple counts, bint reverse):
    """(y, the end, the derivatives) of a recurrence; x (rows, gates h), start (states, m, h)."""
    cdef list states = [start[k] for k in range(cell.states)], ys = [None] * len(counts), ds = [None] * len(counts)
    for t, first, last in walked(counts, reverse):
        now = [s[:last - first] for s in states]
        after, derive = cell.step(x[first:last], linear(now[0], u, c), now)
        ys[t], ds[t], states = after[0], concat(derive(), 1), replaced(states, after)
    return concat(ys, 0), stack(states), concat(ds, 0)


cdef tuple vjp_in_operations(Cell cell, g, gend, u, y, start, derivative, tuple counts, bint reverse):
    """(dx, dz, before, dstart) of a recurrence; derivative (rows, kept h), gend and start (states, m, h)."""
    cdef list grads = [gend[k] for k in range(cell.states)], dxs = [None] * len(counts), dzs = [None] * len(counts)
    cdef list steps = walked(counts, reverse), befores = [None] * len(counts)
    cdef Py_ssize_t h = u.shape[1], k
    for k in range(len(steps) - 1, -1, -1):
        t, first, last = steps[k]
        now = [s[:last - first] for s in grads]
        now[0] = now[0] + g[first:last]
        dx, dz, ds = cell.step_vjp(derivative[first:last].split(h, 1), now)
        dxs[t], dzs[t] = concat(dx, 1), concat(dz, 1)
        ds[0] = matmul(dzs[t], u) if ds[0] is None else ds[0] + matmul(dzs[t], u)
        grads = replaced(grads, ds)
        befores[t] = start[0, :last - first]
        if k:
            _, former, end = steps[k - 1]
            befores[t] = y[former:former + last - first] if end - former >= last - first else \
                concat([y[former:end], start[0, end - former:last - first]], 0)
    return concat(dxs, 0), concat(dzs, 0), concat(befores, 0), stack(grads)


@composite("recurrence")
def _recurrence_composite(x, u, c, start, count, *, cell, rows, gates, h, reverse, **sizes):
    return in_operations(by_number[cell], x.reshape(rows, gates * h), u.reshape(gates * h, h),
                         None if c is None else c.reshape(gates * h), start, tuple(count.tolist()), reverse)


@composite("recurrence_vjp")
def _recurrence_vjp_composite(g, gend, u, y, start, derivative, count, *, cell, rows, gates, h, kept, reverse, **sizes):
    return vjp_in_operations(by_number[cell], g, gend, u.reshape(gates * h, h), y, start,
                             derivative.reshape(rows, kept * h), tuple(count.tolist()), reverse)


@cython.final
cdef class Recurrence(AtOnce):
    """What a node of a recurrence has besides its operands."""
    cdef Cell cell
    cdef tuple counts
    cdef bint reverse
    cdef Array count, bias, derivative
    cdef uint32_t bias_version

    cdef int put_sizes(self, Call *call, Py_ssize_t m, Py_ssize_t h, Py_ssize_t rows) except -1:
        call.args.n[0], call.args.n[1], call.args.n[2] = self.cell.number, len(self.counts), m
        call.args.n[3], call.args.n[4], call.args.n[5] = h, rows, self.cell.gates
        call.args.n[6], call.args.n[7], call.args.n[8] = self.cell.states, self.cell.kept, self.reverse
        return 0

    cdef object gradient_for(self, int i):
        dx, dz, before, dstart = self.found
        return dx if i == 0 else matmul(dz.transpose(0, 1), before) if i == 1 else dstart if i == 2 else \
            sum_axes(dz, 1, False)

    cdef object differentiate(self, Node node, Array g):
        """(dx, dz, before, dstart) for the gradient of the result."""
        cdef Array x = node.load(0), u = node.load(1), start = node.load(2), out = node.load(3)
        cdef Array dx, dz = None, before, dstart
        cdef Call call
        cdef Py_ssize_t rows = x.shape_[0], m = start.shape_[1], h = start.shape_[2], size = itemsize[x.dtype_]
        cdef Py_ssize_t[3] shape = [self.cell.states, m, h]
        if grad_enabled():
            if self.bias is not None and self.bias.storage.version != self.bias_version:
                raise GraphError("backward: recurrence needs its bias as it was when it ran, but that was written to "
                                 "since; write to a clone() instead, or after backward()")
            y, _, derivative = in_operations(self.cell, x, u, self.bias, start, self.counts, self.reverse)
            return vjp_in_operations(self.cell, index(g, slice(rows)), reshape(index(g, slice(rows, None)), 3, shape),
                                     u, y, start, derivative, self.counts, self.reverse)
        g = contiguous(g)
        dx, dstart = empty_like(x), empty_like(start)
        if self.cell.number == MGX_CELL_GRU:
            dz = empty_like(x)
        before = empty(x.dtype_, 2, [rows, h])
        call.count = 0
        put(&call, g)
        put_at(&call, g, g.data + rows * h * size)
        put(&call, u)
        put(&call, out)
        put(&call, start)
        put(&call, self.derivative)
        put(&call, self.count)
        put(&call, dx)
        put(&call, dz)
        put(&call, before)
        put(&call, dstart)
        self.put_sizes(&call, m, h, rows)
        launch(&call, RECURRENCE_VJP, x.dtype_)
        return dx, dz if dz is not None else dx, before, dstart


def recurrence(Cell kind not None, Array x not None, Array u not None, Array c, Array start not None,
               Array count not None, tuple counts not None, bint reverse):
    """The steps of a recurrent layer: y (rows, h) and, behind it, the states in which the sequences end (states m, h).

    x (rows, gates h) has the input's part of the gates, step by step, u (gates h, h) and c (gates h) are the weights of
    the state's, start (states, m, h) the states at first. ``count``, the same as the list ``counts``, says how many
    sequences each step has; they become fewer and fewer.
    """
    cdef Py_ssize_t rows = x.shape_[0], m = start.shape_[1], h = start.shape_[2]
    cdef Array out
    cdef Node node = None
    cdef Call call
    cdef Recurrence state = Recurrence.__new__(Recurrence)
    cdef Py_ssize_t bad
    for a in (x, u, start) if c is None else (x, u, start, c):
        if (<Array> a).dtype_ != x.dtype_ or x.dtype_ > MGX_F64:
            raise DTypeError(f"recurrence: dtypes {dtype_of(x.dtype_)}, {dtype_of((<Array> a).dtype_)} do not mix; "
                             "input, weights and states are float32 or float64 (x.float() converts)")
    if u.ndim != 2 or u.shape_[0] != kind.gates * h or u.shape_[1] != h or x.shape_[1] != u.shape_[0] \
            or c is not None and (c.ndim != 1 or c.shape_[0] != u.shape_[0]):
        raise ShapeError(f"recurrence: states of {h} numbers, with {kind.gates} gates, do not fit weights "
                         f"{shape_of(u)}{'' if c is None else f' and bias {shape_of(c)}'}")
    x, u, start, c = contiguous(x), contiguous(u), contiguous(start), None if c is None else contiguous(c)
    out = empty(x.dtype_, 2, [rows + kind.states * m, h])
    state.cell, state.counts, state.reverse, state.count = kind, counts, reverse, count
    if grad_enabled() and any([a is not None and (<Array> a).needs_grad for a in (x, u, start, c)]):
        node = record_at_once(out, b"recurrence", state, [x, u, start, c])
        state.derivative = empty(x.dtype_, 2, [rows, kind.kept * h])
        state.bias = c
        node.save(0, x)
        node.save(1, u)
        node.save(2, start)
    call.count = 0
    put(&call, x)
    put(&call, u)
    put(&call, c)
    put(&call, start)
    put(&call, count)
    put(&call, out)
    put_at(&call, out, out.data + rows * h * itemsize[x.dtype_])
    put(&call, state.derivative)
    state.put_sizes(&call, m, h, rows)
    bad = launch(&call, RECURRENCE, x.dtype_)
    if bad >= 0:
        raise ShapeError(f"recurrence: step {bad} of {counts} sequences each, of {m}, in {rows} rows")
    if node is not None:
        node.save(3, detached(out))
        if c is not None:
            state.bias_version = c.storage.version
    return out


# ----- attention: softmax(scale q k^T + mask) v ----------------------------------------------------------------------

cdef int ATTENTION = kernel_row("attention"), ATTENTION_VJP = kernel_row("attention_vjp")


def attention_shares(q, k, mask, bint causal, double scale):
    """softmax(scale q k^T + mask), (batch, t, s), in operations; mask (batch, t, s) or None. 0 for a query that a mask
    lets read nothing."""
    scores = (q @ k.transpose(1, 2)) * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        scores = (from_object(~np.tri(q.shape[1], k.shape[1], 0, bool), None, True)).where(-np.inf, scores)
    if not scores.size:
        top = from_object(np.zeros((q.shape[0], q.shape[1], 1), q.dtype), None, True)
        return scores, top, top
    top = scores.detach().amax(2, keepdims=True)
    top = (top == -np.inf).where(0.0, top)
    e = (scores - top).exp()
    total = e.sum(2, keepdims=True)
    shut = (total.detach() == 0) & (mask is not None)
    return e / shut.where(1.0, total), top, shut.where(0.0, 1.0 / shut.where(1.0, total.detach()))


cdef Array masks_of(Array mask, int masks, int each, Array like, Array k):
    """The mask of each batch, (batch, t, s)."""
    if mask is None:
        return None
    batch, t = like.shape[0], like.shape[1]
    whole = mask.unsqueeze(1).expand(masks, each, mask.shape[1], mask.shape[2])
    whole = whole.reshape(masks * each, mask.shape[1], mask.shape[2])
    whole = concat([whole] * (batch // (masks * each)), 0) if masks * each != batch else whole
    return whole.expand(batch, t, mask.shape[2])


cdef tuple attention_gradients(q, k, v, g, shares, by, double scale):
    """(dq, dk, dv) in operations; ``by`` is the sum of g y over each row."""
    ds = shares * (g @ v.transpose(1, 2) - by.unsqueeze(2)) * scale
    return ds @ k, ds.transpose(1, 2) @ q, shares.transpose(1, 2) @ g


@composite("attention")
def _attention_composite(q, k, v, mask, *, masks, each, causal, scale, **sizes):
    shares, top, inverse = attention_shares(q, k, masks_of(mask, masks, each, q, k), causal, scale)
    shut = inverse == 0
    return shares @ v, [shut.where(0.0, top), inverse]


@composite("attention_vjp")
def _attention_vjp_composite(g, q, k, v, y, sums, mask, *, batch, t, masks, each, causal, scale, **sizes):
    scores = (q @ k.transpose(1, 2)) * scale
    if mask is not None:
        scores = scores + masks_of(mask, masks, each, q, k)
    top, inverse = sums.reshape(2, batch, t, 1)
    shares = (scores - top).exp() * inverse
    if causal:
        shares = shares * from_object(np.tri(t, k.shape[1], 0, bool), None, True)
    return attention_gradients(q, k, v, g, shares, (g * y).sum(2), scale)


@cython.final
cdef class Attention(AtOnce):
    """What a node of an attention has besides its operands."""
    cdef Array mask, sums
    cdef Py_ssize_t masks, each
    cdef bint causal
    cdef double scale

    cdef int put_sizes(self, Call *call, Array q, Array k, Array v) except -1:
        call.args.n[0], call.args.n[1], call.args.n[2] = q.shape_[0], q.shape_[1], k.shape_[1]
        call.args.n[3], call.args.n[4], call.args.n[5] = q.shape_[2], v.shape_[2], self.masks
        call.args.n[6] = 1 if self.mask is None else self.mask.shape_[1]
        call.args.n[7], call.args.n[8], call.args.x[0] = self.each, self.causal, self.scale
        return 0

    cdef object differentiate(self, Node node, Array g):
        cdef Array q = node.load(0), k = node.load(1), v = node.load(2), y = node.load(3), dq, dk, dv
        cdef Call call
        if grad_enabled():
            shares, _, _ = attention_shares(q, k, masks_of(self.mask, self.masks, self.each, q, k), self.causal,
                                            self.scale)
            return attention_gradients(q, k, v, g, shares, (g * (shares @ v)).sum(2), self.scale)
        g = contiguous(g)
        dq, dk, dv = empty_like(q), empty_like(k), empty_like(v)
        call.count = 0
        put(&call, g)
        put(&call, q)
        put(&call, k)
        put(&call, v)
        put(&call, y)
        put(&call, self.sums)
        put(&call, self.mask)
        put(&call, dq)
        put(&call, dk)
        put(&call, dv)
        self.put_sizes(&call, q, k, v)
        launch(&call, ATTENTION_VJP, q.dtype_)
        return dq, dk, dv


def attention(Array q not None, Array k not None, Array v not None, Array mask, Py_ssize_t each, bint causal,
              double scale):
    """(batch, t, n), (batch, s, n), (batch, s, p) -> (batch, t, p), of one dtype.

    ``mask`` (masks, t or 1, s) is added to the scores: batch b has number b // each % masks. It is not written to
    afterwards, and has no gradient.
    """
    cdef Array out
    cdef Node node
    cdef Call call
    cdef Attention state = Attention.__new__(Attention)
    q, k, v, mask = contiguous(q), contiguous(k), contiguous(v), None if mask is None else contiguous(mask)
    out = empty(q.dtype_, 3, [q.shape_[0], q.shape_[1], v.shape_[2]])
    state.mask, state.each, state.causal, state.scale = mask, each, causal, scale
    state.masks = 1 if mask is None else mask.shape_[0]
    state.sums = empty(q.dtype_, 3, [2, q.shape_[0], q.shape_[1]])
    call.count = 0
    put(&call, q)
    put(&call, k)
    put(&call, v)
    put(&call, mask)
    put(&call, out)
    put(&call, state.sums)
    state.put_sizes(&call, q, k, v)
    launch(&call, ATTENTION, q.dtype_)
    if grad_enabled() and (q.needs_grad or k.needs_grad or v.needs_grad):
        node = record_at_once(out, b"scaled_dot_product_attention", state, [q, k, v])
        node.save(0, q)
        node.save(1, k)
        node.save(2, v)
        node.save(3, detached(out))
    return out
