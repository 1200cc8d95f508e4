"""The backward pass of a captured call: a program of its own, run by the node that the call's results have.

After the forward pass was captured, its graph is walked once with placeholders for the gradients of the results, and
what that launches is captured too. In a replay the results get one node, whose parents are the leaves and arguments
that the function used. What the backward pass needs of the forward pass is in one block for each call, which the node
holds: a second forward pass before the first backward pass writes to another block.
"""
cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc, realloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport Order, grad_enabled, topological
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport Launch, LaunchList, copy, copy_storage, fill, set_recording
from microgradx._core.capture.environment cimport Environment, rewind_generators
from microgradx._core.capture.passes cimport hold_host_operands
from microgradx._core.capture.program cimport Product, Program, plain_copy
from microgradx._core.trace cimport input_vjp, is_by_hand

from microgradx._core.effects import Effects
from microgradx._core.generator import Drawn
from microgradx._core.trace import gradients
from microgradx.errors import CaptureError, GraphError, is_of_a_signal

cdef enum:
    ALIGNMENT = 64
    ALONE = 8                   # results of a function up to which a backward pass from each alone is captured


cdef object capture_pullback(Pullback pull, Program forward, list roots, list inputs, list samples,
                             Environment environment):
    """Walk the graphs of ``roots``, (number, array) of the results that have one, and write down what that launches:
    from all of them, and from each alone. ``inputs`` and ``samples`` are the numbers of the tensors among the
    arguments, and the copies that the function got. Returns why the call is to run as it is, or None: hooks and
    derivatives by hand may do anything, and what they do to ``environment`` while they are walked through is undone."""
    cdef str reason = None
    cdef list gradients_were, states
    cdef Array a
    if not calls_python(roots):
        capture_walks(pull, forward, roots, inputs, samples, False)
        return None
    effects, drawn, states = Effects(), Drawn(), environment.generator_states()
    gradients_were = [(a.node, a.node.grad) for a, *_ in forward.sequence.outside.values() if a.node is not None]
    try:
        with effects, drawn:
            capture_walks(pull, forward, roots, inputs, samples, True)
    except Exception as error:
        if isinstance(error, (MemoryError, CaptureError)) or is_of_a_signal(error):
            raise
        reason = "a hook or a derivative by hand raises in its backward pass"
    drawn.rewind()
    for node, was in gradients_were:
        if (<Node> node).grad is not was:
            (<Node> node).grad = was
            reason = "a hook or a derivative by hand sets a gradient in its backward pass"
    if rewind_generators(states):
        reason = "a hook or a derivative by hand draws from a generator itself in its backward pass"
    if effects.undo() or not environment.unchanged():
        reason = "a hook or a derivative by hand changes something in its backward pass"
        environment.restore()
    for program in pull.programs():
        sequence = (<Program> program).sequence
        reason = reason or sequence.as_it_is
        if sequence.leaves or not all([effects.has_noted(key) for key in sequence.writes]):
            reason = "a hook or a derivative by hand sets an option, or reads a gradient, in its backward pass"
    return reason


cdef bint calls_python(list roots) except -1:
    """Is there a hook of a module, or a derivative by hand, in the graphs of the results?"""
    cdef Order order
    cdef Node node
    cdef Array a
    cdef Py_ssize_t i
    cdef bint found = False
    for _, a in roots:
        topological(<PyObject *> a.node, <char *> &a.node.v - <char *> <PyObject *> a.node, &order, NULL)
        for i in range(order.count):
            node = <Node> order.item[i]
            found = found or is_by_hand(node) or node.hooks is not None and node.v.op != OP_LEAF
        free(order.item)
    return found


cdef int capture_walks(Pullback pull, Program forward, list roots, list inputs, list samples, bint retain) except -1:
    """``retain`` the graphs?"""
    cdef Array a
    cdef Node node
    cdef Pullback single
    cdef list nodes = [], parents = [], live
    cdef dict hooks = {}
    pull.roots, pull.parents, pull.cotangents = [(k, (<Array> a).node.v.op == OP_FREED) for k, a in roots], [], []
    pull.singles, pull.freed = [], [k for k, freed in pull.roots if freed]
    live = [a for _, a in roots if (<Array> a).node.v.op != OP_FREED]
    if not live:
        return 0
    for number, a in zip(inputs, samples):
        if a.node is not None:
            nodes.append(a.node)
            parents.append(number)
    for a, *_ in forward.sequence.outside.values():
        if a.needs_grad and a.node is not None and a.node.born != forward.number and a.node not in nodes:
            nodes.append(a.node)
            parents.append(a.node)
    pull.groups = groups_of(live, nodes, forward.number)
    pull.apart = len(set(pull.groups)) > 1
    for node in nodes:                                  # they run when the gradient reaches the leaf itself
        if node.hooks is not None:
            hooks[node], node.hooks = node.hooks, None
    try:
        if 1 < len(live) <= ALONE:
            for a in live:
                single = Pullback()
                if capture_walk(single, forward.number, [a], nodes, parents, True):
                    pull.singles.append(single)
        if not capture_walk(pull, forward.number, live, nodes, parents, retain) \
                or len(pull.singles) < len(live):       # the function has walked through a part of them already
            pull.abandoned = [single.program for single in pull.singles]
            pull.singles = []
        if pull.program is None:
            pull.roots, pull.cotangents, pull.parents = [(k, True) for k, _ in roots], [], []
            pull.freed = [k for k, _ in roots]
            return 0
    finally:
        for node in hooks:
            node.hooks = hooks[node]
    for single in pull.singles:
        single.into = [index_of(pull.parents, parent) for parent in single.parents]
    return 0


cdef bint capture_walk(Pullback pull, uint16_t number, list live, list nodes, list parents, bint retain) except -1:
    """Write down the walk from ``live`` to ``nodes``, which ``parents`` names; False if a graph is freed."""
    cdef LaunchList recording
    cdef Array a, g
    pull.cotangents = []
    for a in live:
        g = empty(a.dtype_, a.ndim, a.shape_)
        fill(g, 1)
        pull.cotangents.append(g)
    pull.note_saved(live)
    pull.program = Program()
    pull.program.number = number
    recording = set_recording(pull.program.sequence)
    keep_bytes(True)                                    # what the forward pass left is saved: see `finalize`
    try:
        found = gradients("compile", live, nodes, pull.cotangents, retain, False, True)
    except GraphError:
        pull.abandoned, pull.program = [pull.program], None
        return False
    finally:
        keep_bytes(False)
        set_recording(recording)
    pull.parents = [parent for parent, g in zip(parents, found) if g is not None]
    pull.products = [g for g in found if g is not None]
    return True


cdef Py_ssize_t index_of(list parents, object parent) except -1:
    for k, other in enumerate(parents):
        if other is parent:
            return k
    return -1


cdef list groups_of(list results, list ends, uint16_t number):
    """The number of each result's group. The graphs of different groups share no node that was made during the capture,
    other than their ``ends``."""
    cdef Order order
    cdef Node node
    cdef Py_ssize_t i, k
    cdef list groups = list(range(len(results)))
    cdef dict first = {}                                # {id of a node: the first result that was made of it}
    cdef set outside = {id(node) for node in ends}
    for k in range(len(results)):
        node = (<Array> results[k]).node
        topological(<PyObject *> node, <char *> &node.v - <char *> <PyObject *> node, &order, NULL)
        try:
            for i in range(order.count):
                node = <Node> order.item[i]
                if node.born == number and node.v.op != OP_LEAF and id(node) not in outside:
                    other = groups[first.setdefault(id(node), k)]
                    if other != groups[k]:
                        groups = [other if group == groups[k] else group for group in groups]
        finally:
            free(order.item)
    return groups


@cython.final
cdef class Pullback:

    def __cinit__(self):
        self.singles, self.others, self.position_of = [], [], {}

    def __dealloc__(self):
        free(self.read)
        free(self.kept_in)

    cdef int note_saved(self, list roots) except -1:
        """Note which tensors the nodes of the graphs of ``roots`` have saved: such a node finds out that a tensor was
        given other data."""
        cdef Order order
        cdef Node node
        cdef Array root
        cdef Py_ssize_t i
        cdef int k
        self.saved_tensors = set()
        for root in roots:
            topological(<PyObject *> root.node, <char *> &root.node.v - <char *> <PyObject *> root.node, &order, NULL)
            try:
                for i in range(order.count):
                    node = <Node> order.item[i]
                    for k in range(4):
                        if node.saved[k] != NULL and node.saved_data[k] == NULL:
                            self.saved_tensors.add(<size_t> node.saved[k])
            finally:
                free(order.item)
        return 0

    cdef int note_kept(self, list tensors, list inputs, list samples) except -1:
        """Which of those that the backward pass reads are ``tensors`` from outside, or stand for arguments?"""
        cdef Py_ssize_t i
        cdef set read = {<size_t> self.read[i] for i in range(self.needed_count)}
        self.kept = [a for a, *_ in tensors if id(a) in self.saved_tensors and <size_t> (<Array> a).storage in read]
        read = {number for number, _ in self.arguments}
        self.kept_arguments = [number for number, x in zip(inputs, samples)
                               if id(x) in self.saved_tensors and number in read]
        self.kept_in = <Storage **> malloc((len(self.kept) + 1) * sizeof(Storage *))
        if self.kept_in == NULL:
            raise MemoryError("compile: no memory for the plan")
        for i in range(len(self.kept)):
            self.kept_in[i] = (<Array> self.kept[i]).storage
        self.saved_tensors = None
        return 0

    cdef int finalize(self, Storage **dropped, Py_ssize_t count, set passes, Program forward, list numbers,
                      list inputs, list samples) except -1:
        """The plans of the backward passes, before that of ``forward``: what they read of the forward pass is saved."""
        cdef Pullback one
        cdef Py_ssize_t i, k
        cdef Launch *launch_
        cdef Storage *s
        cdef set written = set()
        cdef list all = [self, *self.singles]
        self.saved, self.binding, self.forward_binding = {}, -1, -1
        if self.program is None:
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
        for one in all:
            one.program.finalize(dropped, count, passes, one.cotangents + samples, one.products, written)
            for i in range(one.program.held_count):
                s = one.program.held[i]
                if s.nbytes and <size_t> s in written and s.born == forward.number and <size_t> s not in self.saved:
                    self.saved[<size_t> s] = self.saved_bytes
                    self.saved_bytes += (s.nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
            one.note_reads(one.program, forward.number, numbers)
        if self.saved_bytes:
            k = self.saved_bytes // 4
            self.block = empty(MGX_F32, 1, &k)
        for one in all:
            for i in range(one.program.held_count):     # as the capture left them
                s = one.program.held[i]
                if <size_t> s in self.saved:
                    copy_storage(s, self.block, self.saved[<size_t> s])
        for one in all:
            one.binding = one.program.bind_block(self.saved, self.block) if self.saved_bytes else -1
            one.note_bindings(numbers, inputs, len(samples))
        return 0

    cdef int note_reads(self, Program program, uint16_t number, list numbers) except -1:
        """Note the storages from outside that ``program`` reads, and that were not noted yet."""
        cdef Py_ssize_t i
        cdef Storage *s
        cdef Py_ssize_t room = self.read_count + program.held_count + 1
        cdef Storage **more = <Storage **> realloc(self.read, room * sizeof(Storage *))
        if more == NULL:
            raise MemoryError("compile: no memory for the plan")
        self.read = more
        for i in range(program.held_count):
            s = program.held[i]
            if s.born != number and <size_t> s not in self.position_of and not any(
                    [(<Array> a).storage == s for _, a in numbers]):
                self.position_of[<size_t> s] = self.read_count
                self.read[self.read_count] = s
                self.read_count += 1
        return 0

    cdef int finish(self, Program forward, list numbers, list inputs, list samples, list tensors) except -1:
        """After the plan of the forward pass: what a call that is run again depends on besides. ``tensors``: those from
        outside that are still there, first in each entry."""
        cdef Pullback single
        cdef Py_ssize_t i
        if self.program is None:
            return 0
        self.needed_count = self.read_count
        self.note_reads(forward, forward.number, numbers)
        self.others = [number for number in inputs if number not in [other for other, _ in self.arguments]]
        self.note_kept(tensors, inputs, samples)
        for single in self.singles:
            single.needed_count = single.read_count
            single.note_kept(tensors, inputs, samples)
            single.at = [self.position_of[<size_t> single.read[i]] for i in range(single.read_count)]
        return 0

    cdef int note_bindings(self, list numbers, list inputs, Py_ssize_t samples) except -1:
        cdef Product product
        cdef Program program = self.program
        cdef Py_ssize_t k
        cdef Array a
        bindings = program.bindings
        self.given = bindings[:len(self.cotangents)]
        self.arguments = [(number, binding) for number, binding in
                          zip(inputs, bindings[len(self.cotangents):len(self.cotangents) + samples])
                          if binding is not None]
        self.numbers = [(number, a) for number, a in numbers if program.holds((<Array> a).storage)]
        bindings = bindings[len(self.cotangents) + samples:]
        for k, a in enumerate(self.products):
            product = Product()
            product.array, product.binding = a, bindings[k] if bindings[k] is not None else -1
            product.nbytes, product.offset = a.storage.nbytes, a.data - a.storage.data
            if product.binding >= 0:
                product.array = geometry_of(a)
            self.products[k] = product
        program.names = [f"binding {k}" for k in range(program.binding_count)]
        return 0

    cdef list programs(self):
        """All of its own and of its parts."""
        cdef Pullback single
        return [program for program in [self.program, *(self.abandoned or ()),
                                        *[single.program for single in self.singles]] if program is not None]

    cdef int hold_operands(self) except -1:
        """The capture has ended: see `hold_host_operands`."""
        for program in self.programs():
            hold_host_operands((<Program> program).sequence)
        self.abandoned = None
        return 0

    cdef Array take_block(self):
        """A block for one call: the last one, if no node holds it any more."""
        cdef Py_ssize_t size = self.saved_bytes // 4
        if self.saved_bytes and ((<PyObject *> self.block).ob_refcnt > 1 or self.block.storage.refs > 1):
            self.block = empty(MGX_F32, 1, &size)
        return self.block

    cdef int attach(self, list values, object leaves, object call) except -1:
        """Give the results of a call their node. ``call``: the captured call, which can run the function again."""
        cdef Residuals residuals
        cdef Array a, joint
        cdef Py_ssize_t i
        cdef list operands
        for i in self.freed:
            a = <Array> values[i]
            a.node, a.needs_grad = new_node(OP_FREED, a), True
        if self.program is None:
            return 0
        residuals = Residuals()
        residuals.pullback, residuals.block, residuals.leaves, residuals.call = self, self.block, leaves, call
        residuals.arguments = {number: (detached(<Array> leaves[number]), (<Array> leaves[number]).storage.version)
                               for number, _ in self.arguments}
        residuals.others = [(leaves[number], (<Array> leaves[number]).storage.version) for number in self.others]
        residuals.version = <uint32_t *> malloc((self.read_count + 1) * sizeof(uint32_t))
        if residuals.version == NULL:
            raise MemoryError("compile: no memory for a node")
        for i in range(self.read_count):
            residuals.version[i] = self.read[i].version
        operands = [leaves[parent] if isinstance(parent, int) else parent for parent in self.parents]
        if len(self.cotangents) == 1:
            for k, freed in self.roots:
                if not freed:
                    record_at_once(<Array> values[k], b"compiled", residuals, operands)
                    mark_graph_view(<Array> values[k])
            return 0
        i = len(self.cotangents)
        joint = empty(MGX_F64, 1, &i)                   # a flag for each result
        record_at_once(joint, b"compiled", residuals, operands).joint = self.apart
        residuals.cotangents = [None] * i
        joints = {}                                     # of the groups: each is freed by a pass through it
        i = 0
        for k, freed in self.roots:
            if not freed:
                group = self.groups[i]
                if group not in joints:
                    joints[group] = self.joint_of(group, joint)
                record_result(<Array> values[k], b"compiled", part_vjp, (residuals, i), [joints[group]])
                mark_graph_view(<Array> values[k])
                i += 1
        return 0

    cdef Array joint_of(self, object group, Array joint):
        """The node of a group of results that share a graph, before the ``joint`` one of all results."""
        cdef Array flags
        if not self.apart or self.groups.count(group) == 1:
            return joint
        flags = empty_like(joint)
        record_result(flags, b"compiled", input_vjp, None, [joint])
        return flags

    cdef list run(self, Residuals residuals, list cotangents):
        """The gradients of the parents; cotangents are None for results that got no gradient."""
        cdef Pullback one = self
        cdef list made, given = [g for g in cotangents if g is not None]
        if len(given) < len(cotangents):
            one = self.singles[[g is not None for g in cotangents].index(True)] if self.singles and len(given) == 1 \
                else None
        if one is None or one.busy or grad_enabled():
            self.check_all(residuals)
            return residuals.call.run_again(residuals.leaves, self.parents, cotangents)
        one.check_read(residuals)
        made = one.replay(residuals, given)
        if one is self:
            return made
        found = [None] * len(self.parents)
        for k, dx in zip(one.into, made):
            found[k] = dx
        return found

    cdef int check_read(self, Residuals residuals) except -1:
        """Raise if what this backward pass reads was written to since the call."""
        cdef Py_ssize_t i, k
        for i in range(self.needed_count):
            k = i if self.at is None else self.at[i]
            if self.read[i].version != residuals.version[k]:
                raise GraphError("backward: a tensor that a compiled function used was written to since (version "
                                 f"{self.read[i].version}, then {residuals.version[k]}); write to a clone() instead")
        for number, _ in self.arguments:
            a, version = residuals.arguments[number]
            if (<Array> a).storage.version != <uint32_t> version:
                raise GraphError("backward: an argument of a compiled function was written to since (version "
                                 f"{(<Array> a).storage.version}, then {version}); write to a clone() instead")
        for i in range(len(self.kept)):
            if (<Array> PyList_GET_ITEM(self.kept, i)).storage != self.kept_in[i]:
                raise GraphError("backward: a tensor that a compiled function used was given other data since; write "
                                 "to a clone() instead")
        for number in self.kept_arguments:
            if (<Array> residuals.leaves[number]).storage != (<Array> residuals.arguments[number][0]).storage:
                raise GraphError("backward: an argument of a compiled function was given other data since; write to a "
                                 "clone() instead")
        return 0

    cdef int check_all(self, Residuals residuals) except -1:
        """Raise if anything that the call reads was written to since: it is to run once more."""
        cdef Py_ssize_t i
        self.check_read(residuals)
        if any([self.read[i].version != residuals.version[i] for i in range(self.read_count)]) \
                or any([(<Array> a).storage.version != <uint32_t> version for a, version in residuals.others]):
            raise CaptureError("backward: this needs the function of a compiled call once more (a second derivative, "
                               "or gradients of some of its results), and a tensor that it reads was written to since")
        return 0

    cdef list replay(self, Residuals residuals, list cotangents):
        cdef Program program = self.program
        cdef Py_ssize_t k
        cdef Array a
        cdef Product product
        cdef list made = []
        self.busy = True
        try:
            given = [as_sample(<Array> a, <Array> sample) for a, sample in zip(cotangents, self.cotangents)]
            for k, binding in enumerate(self.given):
                if binding is not None and binding >= 0:
                    program.rebind(binding, <Array> given[k])
            for number, binding in self.arguments:
                program.rebind(binding, <Array> residuals.arguments[number][0])
            for number, a in self.numbers:
                fill(a, residuals.leaves[number])
            if self.binding >= 0:
                program.rebind(self.binding, residuals.block)
            for product in self.products:
                if product.binding >= 0:
                    a = with_storage(product.array, product.nbytes, product.offset)
                    program.rebind(product.binding, a)
                    made.append(a)
                else:
                    made.append(None)
            a = None
            program.run()
            for k, product in enumerate(self.products):
                if product.binding < 0:
                    made[k] = plain_copy(product.array)
        finally:
            self.busy = False
        return made


@cython.final
cdef class Residuals(AtOnce):

    def __dealloc__(self):
        free(self.version)

    cdef object differentiate(self, Node node, Array g):
        cdef list cotangents = [g]
        cdef Py_ssize_t k
        if self.cotangents is not None:                 # flags: which results have a gradient in this pass
            cotangents = [self.cotangents[k] if (<double *> g.data)[k] else None for k in range(len(self.cotangents))]
            self.cotangents = [None] * len(cotangents)
        return self.pullback.run(self, cotangents)


cdef Array as_sample(Array a, Array sample):
    """``a`` in the layout that the launches read."""
    cdef Array out
    if a.contiguous:
        return a
    out = empty_like(sample)
    copy(a, out)
    return out


cdef int mark_graph_view(Array out) except -1:
    """A result of a call has a graph: it counts if it is a view."""
    if out.view:
        out.graph_view = True
        out.storage.graph_views += 1
    return 0


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
