"""What a recorded call did with Values, as arrays: which nodes the results were made from, and from what.

Operands are indices: of numbers below 0, of leaves, which are the inputs and the parameters, from 0 on, then of nodes.
For a call that one node can stand for there is a segment, which `csrc/segment.inl` runs. In a segment the products that
a chain of additions adds up are one operation with it, unless a gradient would be added up in another order then.
"""
from cpython cimport array
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

from microgradx._core.graph cimport Order, begin_walk, free_collector, hold_collector, topological
from microgradx._core.kernels cimport *
from microgradx._core.value cimport Moving, Recording, Value, number

cdef array.array INTS = array.array("i"), BYTES = array.array("b")
cdef enum: NOWHERE = -1
cdef enum: ROUNDS = 4                               # attempts to find chains that leave the order as it is


cdef inline array.array new_ints(Py_ssize_t n):
    return array.clone(INTS, n, True)


cdef inline array.array new_bytes(Py_ssize_t n):
    return array.clone(BYTES, n, True)


cdef inline int32_t *ints(array.array a) noexcept:
    return <int32_t *> a.data.as_ints


cdef class Numbers:
    """The numbers among the operands of a recorded call, and what is computed of those that move."""

    def __cinit__(self):
        self.initial, self.steps, self.read = [], [], set()

    cdef int constant(self, double x) except -1:
        self.initial.append(x)
        return <int> len(self.initial) - 1

    cdef int slot_of(self, object o) except -1:
        return (<Moving> o).slot if isinstance(o, Moving) else self.constant(number(o, -1))


# ----- the nodes that results were made from --------------------------------------------------------------------------

cdef Lowered lower(Recording recording, Numbers numbers, list inputs, list results):
    """The nodes that the Values among the ``results`` were made from. The ``inputs`` are the first leaves."""
    cdef Lowered lowered = Lowered()
    cdef list made = recording.values, given = recording.operands, foreign = list(inputs)
    cdef Py_ssize_t nodes = len(made), count = 0, kept = 0, i, k, last
    cdef int32_t *first = ints(recording.first)
    cdef array.array sources = new_ints(len(given)), roots = new_ints(len(results)), orders = new_ints(nodes)
    cdef array.array leaves, positions = new_ints(nodes), is_reached = new_bytes(nodes)
    cdef int32_t *source = ints(sources)            # by operand: a node from 0 on, a foreign Value after them, a number
    cdef int32_t *root = ints(roots)
    cdef int32_t *order = ints(orders)
    cdef int32_t *leaf
    cdef signed char *reached = is_reached.data.as_schars
    cdef bint on
    for i in range(len(given)):                     # this may run code of others; `find_sources` may not
        if type(given[i]) is not Value:
            source[i] = ~numbers.slot_of(given[i])
    on = hold_collector()
    try:
        last = find_sources(made, given, foreign, results, source, root)
        count = walk(made, last, order) if last >= 0 else 0
    finally:
        free_collector(on)
    lowered.single = last >= 0 and recording.ops[last] != MGX_LEAF
    for i in range(len(results)):
        if root[i] >= 0:
            reached[root[i]] = True
            lowered.single &= root[i] == last
    for k in range(nodes - 1, -1, -1):
        if reached[k]:
            kept += 1
            for i in range(first[k], first[k + 1]):
                if 0 <= source[i] < nodes:
                    reached[source[i]] = True
    lowered.single &= count == kept
    if not lowered.single:                          # in the order in which they were made
        count = 0
        for k in range(nodes):
            if reached[k]:
                order[count] = <int32_t> k
                count += 1
    leaves = new_ints(len(foreign))
    leaf = ints(leaves)
    lowered.parameters = []
    for i in range(len(foreign)):
        leaf[i] = <int32_t> i if i < len(inputs) else NOWHERE
    for k in range(nodes):
        for i in range(first[k], first[k + 1] if reached[k] else first[k]):
            if source[i] >= nodes and leaf[source[i] - nodes] == NOWHERE:
                leaf[source[i] - nodes] = <int32_t> (len(inputs) + len(lowered.parameters))
                lowered.parameters.append(foreign[source[i] - nodes])
    lowered.leaves = len(inputs) + len(lowered.parameters)
    lowered.write(recording, source, order, count, leaf, ints(positions))
    lowered.places = [NOWHERE if root[i] < 0 else ints(positions)[root[i]] for i in range(len(results))]
    return lowered


cdef uint32_t mark_all(list values) noexcept:
    """Mark Values by a walk of their own, with their places in the list; returns its number."""
    cdef uint32_t walk = begin_walk()
    cdef Py_ssize_t i
    for i in range(len(values)):
        (<Value> values[i]).v.mark, (<Value> values[i]).v.slot = walk, <uint32_t> i
    return walk


cdef Py_ssize_t find_sources(list made, list given, list foreign, list results, int32_t *source,
                             int32_t *root) except -2:
    """Where each operand that is a Value comes from, and each result (-1: not made here); returns the last result that
    was made, or -1. Marks say which is which, so no Python code may run in here."""
    cdef uint32_t others = mark_all(foreign), own = mark_all(made)
    cdef Py_ssize_t nodes = len(made), i, last = NOWHERE
    cdef Value v
    for i in range(len(given)):
        if type(given[i]) is Value:
            v = <Value> given[i]
            if v.v.mark != own and v.v.mark != others:
                v.v.mark, v.v.slot = others, <uint32_t> len(foreign)
                foreign.append(v)
            source[i] = <int32_t> (v.v.slot if v.v.mark == own else nodes + v.v.slot)
    for i in range(len(results)):
        root[i] = NOWHERE
        if type(results[i]) is Value and (<Value> results[i]).v.mark == own:
            root[i] = <int32_t> (<Value> results[i]).v.slot
            last = max(last, root[i])
    return last


cdef Py_ssize_t walk(list made, Py_ssize_t last, int32_t *into) except -1:
    """Those made that the node ``last`` has behind it, parents first: a backward pass the other way round."""
    cdef Order order
    cdef Value root = <Value> made[last], v
    cdef Py_ssize_t i, count = 0
    cdef uint32_t own
    topological(<PyObject *> root, <char *> &root.v - <char *> <PyObject *> root, &order, NULL)
    own = mark_all(made)
    for i in range(order.count):
        v = <Value> order.item[i]
        if v.v.mark == own:
            into[count] = <int32_t> v.v.slot
            count += 1
    free(order.item)
    return count


cdef class Nodes:
    """Operations in the order in which they run."""


cdef class Lowered(Nodes):
    """See `lower`."""

    cdef int write(self, Recording recording, const int32_t *source, const int32_t *order, Py_ssize_t count,
                   const int32_t *leaf, int32_t *position) except -1:
        """The nodes in their ``order``; each one's index becomes its ``position``."""
        cdef int32_t *op = ints(recording.ops)
        cdef int32_t *first = ints(recording.first)
        cdef int32_t *operand
        cdef Py_ssize_t nodes = len(recording.values), i, j, k, to = 0
        cdef bint wants_gradient
        for i in range(count):
            to += first[order[i] + 1] - first[order[i]]
        self.ops, self.first, self.operands = new_ints(count), new_ints(count + 1), new_ints(to)
        self.linked, operand, to = new_bytes(count), ints(self.operands), 0
        for i in range(count):
            k, wants_gradient = order[i], False
            position[k] = <int32_t> (self.leaves + i)
            ints(self.ops)[i] = op[k]
            self.linked.data.as_chars[i] = (<Value> recording.values[k]).v.count > 0
            for j in range(first[k], first[k + 1]):
                wants_gradient |= source[j] >= 0
                operand[to] = (source[j] if source[j] < 0 else position[source[j]] if source[j] < nodes
                               else leaf[source[j] - nodes])
                to += 1
            ints(self.first)[i + 1] = <int32_t> to
            self.single &= op[k] == MGX_LEAF or self.linked.data.as_chars[i] != 0 or not wants_gradient
        return 0


# ----- segments -------------------------------------------------------------------------------------------------------

cdef class Chains:
    """The chains of additions among nodes: ``a * b + c + d * e``, where nothing else reads the products and the sums
    before the last."""
    cdef Nodes nodes
    cdef array.array uses, into, barred, takes
    cdef array.array terms                          # of the chain that `read` was called for, the last one first:
    cdef Py_ssize_t count                           # (operand, operand), by their places; (operand, -1) if it is alone

    def __cinit__(self, Nodes nodes not None):
        cdef Py_ssize_t n = len(nodes.ops)
        cdef int32_t at
        self.nodes, self.uses, self.barred = nodes, new_ints(n), new_bytes(n)
        for at in ints(nodes.operands)[:len(nodes.operands)]:
            if at >= nodes.leaves:
                ints(self.uses)[at - nodes.leaves] += 1
        ints(self.uses)[n - 1] += 1
        self.terms = new_ints(2 * len(nodes.operands) + 2)

    cdef bint is_only(self, int32_t at, int op):
        """Whether ``at`` is a node of ``op`` that is read once."""
        cdef Py_ssize_t i = at - self.nodes.leaves
        return (i >= 0 and ints(self.nodes.ops)[i] == op and ints(self.uses)[i] == 1
                and not self.barred.data.as_chars[i])

    cdef int find(self) except -1:
        """Which addition takes each node in: ``into``, or -1."""
        cdef Py_ssize_t n = len(self.nodes.ops), i
        cdef int32_t a, b, other
        cdef int32_t *into
        self.into, self.takes = new_ints(n), new_bytes(n)
        into = ints(self.into)
        memset(into, 0xff, n * sizeof(int32_t))
        for i in range(n):
            if ints(self.nodes.ops)[i] != MGX_add or self.barred.data.as_chars[i]:
                continue
            a, b = ints(self.nodes.operands)[ints(self.nodes.first)[i]], \
                ints(self.nodes.operands)[ints(self.nodes.first)[i] + 1]
            other = b
            if self.is_only(a, MGX_add):
                into[a - self.nodes.leaves] = <int32_t> i
            elif self.is_only(b, MGX_add):
                into[b - self.nodes.leaves], other = <int32_t> i, a
            elif self.is_only(a, MGX_mul):
                into[a - self.nodes.leaves] = <int32_t> i
            if self.is_only(other, MGX_mul):
                into[other - self.nodes.leaves] = <int32_t> i
        for i in range(n):
            if into[i] != NOWHERE:
                self.takes.data.as_chars[into[i]] = True
        return 0

    cdef bint is_taken(self, int32_t at, Py_ssize_t by, int op):
        cdef Py_ssize_t i = at - self.nodes.leaves
        return i >= 0 and ints(self.into)[i] == by and ints(self.nodes.ops)[i] == op

    cdef int add_term(self, Py_ssize_t place, Py_ssize_t by) except -1:
        cdef int32_t at = ints(self.nodes.operands)[place]
        cdef int32_t *term = ints(self.terms) + 2 * self.count
        term[0], term[1] = <int32_t> place, NOWHERE
        if self.is_taken(at, by, MGX_mul):
            term[0] = ints(self.nodes.first)[at - self.nodes.leaves]
            term[1] = term[0] + 1
        self.count += 1
        return 0

    cdef int read(self, Py_ssize_t i, bint bar=False) except -1:
        """The terms of the chain that ends at the addition ``i``; ``bar`` it from being one."""
        cdef int32_t *operand = ints(self.nodes.operands)
        cdef Py_ssize_t a
        self.count = 0
        while True:
            self.barred.data.as_chars[i] |= bar
            a = ints(self.nodes.first)[i]
            if self.is_taken(operand[a], i, MGX_add):
                self.add_term(a + 1, i)
                i = operand[a] - self.nodes.leaves
            elif self.is_taken(operand[a + 1], i, MGX_add):
                self.add_term(a, i)
                i = operand[a + 1] - self.nodes.leaves
            else:
                self.add_term(a + 1, i)
                self.add_term(a, i)
                return 0

    cdef int bar_all(self) except -1:
        cdef Py_ssize_t i
        for i in range(len(self.barred)):
            self.barred.data.as_chars[i] = True
        return 0

    cdef bint keep_order(self) except -1:
        """Whether all gradients are added up in the order of the nodes; chains that change it are barred."""
        cdef Py_ssize_t n = len(self.nodes.ops), places = self.nodes.leaves + n, i, j, k
        cdef array.array ranks = new_ints(len(self.nodes.operands)), met = new_ints(places)
        cdef int32_t *operand = ints(self.nodes.operands)
        cdef int32_t *first = ints(self.nodes.first)
        cdef int32_t *into = ints(self.into)
        cdef int32_t *rank = ints(ranks)            # by operand: how many others have added to its gradient before
        cdef int32_t at, early
        cdef bint kept = True
        for i in range(n - 1, -1, -1):
            for k in range(first[i], first[i + 1]):
                if operand[k] >= 0:
                    rank[k] = ints(met)[operand[k]]
                    ints(met)[operand[k]] += 1
        memset(ints(met), 0, places * sizeof(int32_t))
        for i in range(n - 1, -1, -1):
            if into[i] != NOWHERE:
                continue
            if self.takes.data.as_chars[i]:
                self.read(i)
            else:
                self.count = 0
                for k in range(first[i], first[i + 1]):
                    ints(self.terms)[2 * self.count], ints(self.terms)[2 * self.count + 1] = <int32_t> k, NOWHERE
                    self.count += 1
            early = False
            for j in range(2 * self.count):
                k = ints(self.terms)[j]
                at = operand[k] if k >= 0 else NOWHERE
                if at >= 0:
                    early |= rank[k] > ints(met)[at]
                    kept &= rank[k] == ints(met)[at]
                    ints(met)[at] += 1
            if early and self.takes.data.as_chars[i]:
                self.read(i, True)
        return kept


cdef class Segment(Nodes):
    """See `segment_of`."""

    cdef int arrange(self) except -1:
        """The nodes level by level: what is of one level can be worked out at the same time."""
        cdef Py_ssize_t n = len(self.ops), i, j, k
        cdef array.array levels = new_ints(n), starts = new_ints(n + 2)
        cdef int32_t *level = ints(levels)
        cdef int32_t *start = ints(starts)
        cdef int32_t *first = ints(self.first)
        cdef int32_t *order
        self.order, self.alike = new_ints(n), new_ints(n)
        order = ints(self.order)
        for i in range(n):
            for k in range(first[i], first[i + 1]):
                j = ints(self.operands)[k] - self.leaves
                if j >= 0:
                    level[i] = max(level[i], level[j] + 1)
            start[level[i] + 2] += 1
        for i in range(1, n + 2):
            start[i] += start[i - 1]
        for i in range(n):
            order[start[level[i] + 1]] = <int32_t> i
            start[level[i] + 1] += 1
        for k in range(n - 1, -1, -1):
            i, ints(self.alike)[k] = order[k], 1
            j = order[k + 1] if k + 1 < n else i
            if j != i and level[i] == level[j] and ints(self.ops)[i] == ints(self.ops)[j] \
                    and first[i + 1] - first[i] == first[j + 1] - first[j]:
                ints(self.alike)[k] += ints(self.alike)[k + 1]
        return 0


cdef Segment segment_of(Lowered lowered, Numbers numbers):
    """The segment of a call that one node can stand for."""
    cdef Segment segment = Segment()
    cdef Chains chains = Chains(lowered)
    cdef Py_ssize_t n = len(lowered.ops), i, j, k, count = 0, to = 0
    cdef array.array positions = new_ints(n)
    cdef int32_t *op = ints(lowered.ops)
    cdef int32_t *first = ints(lowered.first)
    cdef int32_t *operand = ints(lowered.operands)
    cdef int32_t *term = ints(chains.terms)
    cdef int32_t *out
    cdef int32_t one = <int32_t> ~numbers.constant(1.0), at
    cdef bint stores = False
    for _ in range(ROUNDS):
        chains.find()
        if chains.keep_order():
            break
    else:
        chains.bar_all()
        chains.find()
    segment.ops, segment.first, segment.needs = new_ints(n), new_ints(n + 1), new_bytes(n)
    segment.operands, segment.leaves = new_ints(2 * len(lowered.operands)), lowered.leaves
    out = ints(segment.operands)
    for i in range(n):
        if ints(chains.into)[i] != NOWHERE:
            continue
        ints(positions)[i] = <int32_t> (lowered.leaves + count)
        ints(segment.ops)[count] = op[i]
        if chains.takes.data.as_chars[i]:
            ints(segment.ops)[count] = MGX_CHAIN
            chains.read(i)
            for j in range(chains.count - 1, -1, -1):
                out[to], out[to + 1] = operand[term[2 * j]], one if term[2 * j + 1] < 0 else operand[term[2 * j + 1]]
                to += 2
        else:
            for k in range(first[i], first[i + 1]):
                out[to] = operand[k]
                to += 1
            stores |= op[i] >= 0 and op[i] not in (MGX_add, MGX_mul, MGX_relu)
        for k in range(ints(segment.first)[count], to):
            at = out[k]
            if at >= lowered.leaves:
                out[k] = ints(positions)[at - lowered.leaves]
            if at >= 0 and k < ints(segment.first)[count] + 3:
                segment.needs.data.as_chars[count] |= 1 << (k - ints(segment.first)[count])
        count += 1
        ints(segment.first)[count] = <int32_t> to
    array.resize(segment.ops, count)
    array.resize(segment.operands, to)
    segment.arrange()
    segment.c.order, segment.c.alike = ints(segment.order), ints(segment.alike)
    segment.c.leaves, segment.c.nodes = <int32_t> lowered.leaves, <int32_t> count
    segment.c.stores = <int32_t> to if stores else 0
    segment.c.op, segment.c.first, segment.c.operand = ints(segment.ops), ints(segment.first), ints(segment.operands)
    segment.c.needs = segment.needs.data.as_chars
    segment.c.numbers = <int32_t> len(numbers.initial)
    return segment
