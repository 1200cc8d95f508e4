"""The backward pass of a captured call: a program of its own, run by the node that the call's results have.

After the forward pass was captured, its graph is walked once with placeholders for the gradients of the results, and
what that launches is captured too. In a replay the results get one node, whose parents are the leaves and arguments
that the function used. What the backward pass needs of the forward pass is in one block for each call, which the node
holds: a second forward pass before the first backward pass writes to another block.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport Order, grad_enabled, topological
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Launch, LaunchList, copy, copy_storage, fill, set_recording
from microgradx._core.capture.passes cimport hold_host_operands
from microgradx._core.capture.program cimport Product, Program, plain_copy
from microgradx._core.trace cimport record_result

from microgradx._core.trace import gradients
from microgradx.errors import CaptureError, GraphError

cdef enum: ALIGNMENT = 64


cdef int capture_pullback(Pullback pull, Program forward, list roots, list arguments) except -1:
    """Walk the graphs of ``roots``, (number, array) of the results that have one, and write down what that launches.
    ``arguments`` holds (number, array) of the arguments that have a graph."""
    cdef LaunchList recording
    cdef Array a, g
    cdef Node node
    cdef list nodes = [], live
    cdef dict hooks = {}
    pull.roots, pull.parents, pull.cotangents = [(k, (<Array> a).node.v.op == OP_FREED) for k, a in roots], [], []
    live = [a for _, a in roots if (<Array> a).node.v.op != OP_FREED]
    if not live:
        return 0
    for number, a in arguments:
        nodes.append(a.node)
        pull.parents.append(number)
    for a, *_ in forward.sequence.outside.values():
        if a.needs_grad and a.node is not None and a.node.born != forward.number and a.node not in nodes:
            nodes.append(a.node)
            pull.parents.append(a.node)
    for a in live:
        g = empty(a.dtype_, a.ndim, a.shape_)
        fill(g, 1)
        pull.cotangents.append(g)
    pull.apart = have_graphs_apart(live, nodes, forward.number)
    pull.program = Program()
    pull.program.number = forward.number
    for node in nodes:                                  # they run when the gradient reaches the leaf itself
        if node.hooks is not None:
            hooks[node], node.hooks = node.hooks, None
    recording = set_recording(pull.program.sequence)
    keep_bytes(True)                                    # what the forward pass left is saved: see `finalize`
    try:
        found = gradients("compile", live, nodes, pull.cotangents, False, False, True)
    except GraphError:                                  # the function has walked through a part of them already
        pull.roots, pull.cotangents, pull.parents = [(k, True) for k, _ in roots], [], []
        pull.abandoned, pull.program = pull.program, None
        return 0
    finally:
        keep_bytes(False)
        set_recording(recording)
        for node in hooks:
            node.hooks = hooks[node]
    pull.parents = [parent for parent, g in zip(pull.parents, found) if g is not None]
    pull.products = [g for g in found if g is not None]
    return 0


cdef bint have_graphs_apart(list results, list ends, uint16_t number) except -1:
    """Do the graphs of the results share no node that was made during the capture, other than their ``ends``?"""
    cdef Order order
    cdef Node node
    cdef Py_ssize_t i, count = 0
    cdef set met = set(), outside = {id(node) for node in ends}
    for a in results:
        node = (<Array> a).node
        topological(<PyObject *> node, <char *> &node.v - <char *> <PyObject *> node, &order, NULL)
        try:
            for i in range(order.count):
                node = <Node> order.item[i]
                if node.born == number and node.v.op != OP_LEAF and id(node) not in outside:
                    met.add(id(node))
                    count += 1
        finally:
            free(order.item)
    return len(met) == count


@cython.final
cdef class Pullback:

    def __dealloc__(self):
        free(self.read)

    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes, Program forward, list numbers,
                      list inputs, list samples) except -1:
        """The plan of the backward pass, before that of ``forward``: what it reads of the forward pass is saved."""
        cdef Program program = self.program
        cdef Py_ssize_t i, k
        cdef Launch *launch_
        cdef Storage *s
        cdef Array a
        cdef Product product
        cdef set written = set()
        self.saved, self.place, self.forward_place = {}, -1, -1
        if program is None:
            return 0
        for i in range(forward.sequence.count):
            if i & 1023 == 1023:
                PyErr_CheckSignals()
            launch_ = forward.sequence.launch[i]
            if launch_.host != NULL:
                written.update([<size_t> (<Array> o).storage for o in (<tuple> launch_.host)[1]
                                if isinstance(o, Array)])
            for k in range(launch_.count):
                if launch_.storage[k] != NULL and launch_.writes >> k & 1:
                    written.add(<size_t> launch_.storage[k])
        program.finalize(dropped, count, passes, self.cotangents + samples, self.products, written)
        self.read = <Storage **> malloc((program.held_count + 1) * sizeof(Storage *))
        if self.read == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(program.held_count):
            s = program.held[i]
            if <size_t> s in written and s.born == forward.number:
                self.saved[<size_t> s] = self.saved_bytes
                self.saved_bytes += (s.nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
            elif s.born != forward.number and not any([(<Array> a).storage == s for _, a in numbers]):
                self.read[self.read_count] = s
                self.read_count += 1
        for i in range(program.held_count):
            s = program.held[i]
            for a in samples:
                if a.storage == s:
                    raise CaptureError("compile: the function writes to an argument that its gradient depends on; "
                                       "write to a clone()")
        if self.saved_bytes:
            k = self.saved_bytes // 4
            self.block = empty(MGX_F32, 1, &k)
            for i in range(program.held_count):         # as the capture left them
                s = program.held[i]
                if <size_t> s in self.saved:
                    copy_storage(s, self.block, self.saved[<size_t> s])
            self.place = program.bind_block(self.saved, self.block)
        places = program.places
        self.given = places[:len(self.cotangents)]
        self.arguments = [(number, place) for number, place in
                          zip(inputs, places[len(self.cotangents):len(self.cotangents) + len(samples)])
                          if place is not None]
        self.numbers = [(number, a) for number, a in numbers if program.holds((<Array> a).storage)]
        places = places[len(self.cotangents) + len(samples):]
        for k, a in enumerate(self.products):
            product = Product()
            product.array, product.place = a, places[k] if places[k] is not None else -1
            product.nbytes, product.offset = a.storage.nbytes, a.data - a.storage.data
            if product.place >= 0:
                product.array = geometry_of(a)
            self.products[k] = product
        program.names = [f"place {k}" for k in range(program.place_count)]
        return 0

    cdef int hold_operands(self) except -1:
        """The capture has ended: see `hold_host_operands`."""
        for program in (self.program, self.abandoned):
            if program is not None:
                hold_host_operands((<Program> program).sequence)
        self.abandoned = None
        return 0

    cdef Array take_block(self):
        """A block for one call: the last one, if no node holds it any more."""
        cdef Py_ssize_t size = self.saved_bytes // 4
        if self.saved_bytes and ((<PyObject *> self.block).ob_refcnt > 1 or self.block.storage.refs > 1):
            self.block = empty(MGX_F32, 1, &size)
        return self.block

    cdef int attach(self, list values, object leaves, object again) except -1:
        """Give the results of a call their node. ``again``: how to run the function again."""
        cdef Residuals residuals
        cdef Array a, joint
        cdef Py_ssize_t i
        cdef list operands
        for k, freed in self.roots:
            if freed:
                a = <Array> values[k]
                a.node, a.needs_grad = new_node(OP_FREED, a), True
        if self.program is None:
            return 0
        residuals = Residuals()
        residuals.pullback, residuals.block, residuals.leaves, residuals.again = self, self.block, leaves, again
        residuals.arguments = [(detached(<Array> leaves[number]), (<Array> leaves[number]).storage.version)
                               for number, _ in self.arguments]
        residuals.version = <uint32_t *> malloc((self.read_count + 1) * sizeof(uint32_t))
        if residuals.version == NULL:
            raise MemoryError("compile: no memory for a node")
        for i in range(self.read_count):
            residuals.version[i] = self.read[i].version
        operands = [leaves[parent] if isinstance(parent, int) else parent for parent in self.parents]
        if len(self.cotangents) == 1:
            for k, freed in self.roots:
                if not freed:
                    connect(<Array> values[k], pullback_vjp, residuals, operands)
            return 0
        i = len(self.cotangents)
        joint = empty(MGX_F64, 1, &i)                   # a flag for each result
        record_result(joint, b"compiled", pullback_vjp, residuals, operands).joint = self.apart
        residuals.cotangents = [None] * i
        i = 0
        for k, freed in self.roots:
            if not freed:
                connect(<Array> values[k], part_vjp, (residuals, i), [joint])
                i += 1
        return 0

    cdef list run(self, Residuals residuals, list cotangents):
        """The gradients of the parents."""
        cdef Program program = self.program
        cdef Py_ssize_t i, k
        cdef Array a
        cdef Product product
        cdef list made = []
        if grad_enabled() or self.busy or any([g is None for g in cotangents]):
            return residuals.again(residuals.leaves, self.parents, cotangents)
        for i in range(self.read_count):
            if self.read[i].version != residuals.version[i]:
                raise GraphError("backward: a tensor that a compiled function used was written to since (version "
                                 f"{self.read[i].version}, then {residuals.version[i]}); write to a clone() instead")
        for a, version in residuals.arguments:
            if a.storage.version != <uint32_t> version:
                raise GraphError("backward: an argument of a compiled function was written to since (version "
                                 f"{a.storage.version}, then {version}); write to a clone() instead")
        self.busy = True
        try:
            given = [as_sample(<Array> a, <Array> sample) for a, sample in zip(cotangents, self.cotangents)]
            for k, place in enumerate(self.given):
                if place is not None and place >= 0:
                    program.aim(place, <Array> given[k])
            for k, (_, place) in enumerate(self.arguments):
                program.aim(place, <Array> residuals.arguments[k][0])
            for number, a in self.numbers:
                fill(a, residuals.leaves[number])
            if self.place >= 0:
                program.aim(self.place, residuals.block)
            for product in self.products:
                if product.place >= 0:
                    a = with_storage(product.array, product.nbytes, product.offset)
                    program.aim(product.place, a)
                    made.append(a)
                else:
                    made.append(None)
            a = None
            program.run()
            for k, product in enumerate(self.products):
                if product.place < 0:
                    made[k] = plain_copy(product.array)
        finally:
            self.busy = False
        return made


@cython.final
cdef class Residuals:

    def __dealloc__(self):
        free(self.version)


cdef Array as_sample(Array a, Array sample):
    """``a`` in the layout that the launches read."""
    cdef Array out
    if a.contiguous:
        return a
    out = empty_like(sample)
    copy(a, out)
    return out


cdef int connect(Array out, Vjp vjp, object args, list operands) except -1:
    record_result(out, b"compiled", vjp, args, operands)
    if out.view:
        out.graph_view = True
        out.storage.graph_views += 1
    return 0


cdef object pullback_vjp(Node node, Array g, int i):
    """All gradients are computed when the first is asked for."""
    cdef Residuals residuals = <Residuals> node.args
    cdef list cotangents
    cdef Py_ssize_t k
    if residuals.gradient is not g or residuals.results is None:
        if residuals.cotangents is None:
            cotangents = [g]
        else:                                           # flags: which results have a gradient in this pass
            cotangents = [residuals.cotangents[k] if (<double *> g.data)[k] else None
                          for k in range(len(residuals.cotangents))]
            residuals.cotangents = [None] * len(cotangents)
        residuals.results, residuals.gradient = residuals.pullback.run(residuals, cotangents), g
    dx = residuals.results[i]
    residuals.results[i] = None
    if i == node.v.count - 1:
        residuals.results = residuals.gradient = None
    return dx


cdef object part_vjp(Node node, Array g, int i):
    """Of one result of several: its gradient is noted, and what goes on to the node that joins them is its flag."""
    cdef Residuals residuals
    cdef Array flags
    cdef Py_ssize_t k, count
    residuals, k = <tuple> node.args
    residuals.cotangents[k] = g
    count = len(residuals.cotangents)
    flags = empty(MGX_F64, 1, &count)
    fill(flags, 0)
    (<double *> flags.data)[k] = 1
    return flags
