"""One captured call of a function: what it depends on, what it changes, and the program that replays it.

A call depends on its arguments (their shapes, strides and dtypes; floats may move, all else counts by value), on the
tensors, modules and optimizers that it met, and on which leaves had a gradient. Each of these is noted while the call
is captured. What it leaves behind besides its result are its effects: gradients, attributes of modules, options of
groups, ``requires_grad``; a replay repeats them.
"""
cimport cython
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc

from microgradx._core.array cimport *
from microgradx._core.graph cimport grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport (LaunchList, bump_gradients, capturing_list, copy, fill, grad_version, hooks_of,
                                      is_leaf, profiling, set_recording, world_version)
from microgradx._core.capture.environment cimport Environment
from microgradx._core.capture.guards cimport Guard, part_is_lost, snapshot_of, start_notes, stop_notes, unchanged
from microgradx._core.capture.passes cimport hold_host_operands
from microgradx._core.capture.number cimport SymbolicFloat, note_reads_in, number_now, plain, symbolic_float
from microgradx._core.capture.originals cimport give_back, original_of
from microgradx._core.capture.program cimport Product, Program, is_parameter, may_be_symbolic, plain_copy
from microgradx._core.capture.pullback cimport Pullback, capture_pullback
from microgradx._core.trace cimport input_vjp
from microgradx._core.trees cimport containers_of

import gc
import sys
import types
from collections import deque
from functools import partial
from random import getstate

from numpy import ndarray

from microgradx._core.capture.explain import table
from microgradx._core.capture.environment import MISSING
from microgradx._core.graph import enable_grad
from microgradx._core.launch import change_world
from microgradx._core.trace import gradients
from microgradx._core.trees import flatten, unflatten
from microgradx.errors import CaptureError

cdef enum Form:                 # how an argument is compared with the captured one
    TENSOR, MOVES, VALUE

cdef enum Source:               # where a replay has a leaf of the result, or the value of an effect, from
    CONSTANT, PRODUCT, FRESH, SAVED, PART, GIVEN, VIEW, ALIAS, GRADIENT, AGAIN

cdef enum EffectOn:             # what an effect changes
    OF_LEAF, OF_ATTRIBUTE, OF_ARGUMENT, OF_MODE

cdef enum: COPIED = -1, UNUSED = -2     # an argument without a binding: its numbers are copied; no launch reads it
MEMORY = "memory that arguments share with each other or with what the call uses"
NOT_CAPTURED = object()         # for the result of a call that was not made


cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(object)            # of a tuple or list


@cython.final
cdef class Found:
    pass


@cython.final
cdef class Output:
    pass


@cython.final
cdef class Effect:
    pass


cdef Output new_output(int kind, object what):
    cdef Output output = Output()
    output.kind, output.what = kind, what
    return output


cdef Effect effect_of(int kind, object target, object name, object value):
    cdef Effect effect = Effect()
    effect.kind, effect.target, effect.name, effect.value = kind, target, name, value
    return effect


cdef object argument_vjp(Node node, Array g, int i):
    """Of a copy of an argument that has a graph: a backward pass inside goes on into that."""
    if capturing_list() is not None:
        capturing_list().as_it_is = "a backward pass inside goes through the graph of an argument"
    return g


cdef bint tensor_is_as_noted(tuple entry) except -1:
    """Has a tensor from outside the storage, requires_grad and hooks that it had when the call met it, and is it a leaf
    if it was?"""
    cdef Array a = <Array> entry[0]
    return <size_t> a.storage == <size_t> entry[1] and a.needs_grad == <bint> entry[2] and hooks_of(a) == entry[3] \
        and is_leaf(a) == <bint> entry[4]


@cython.final
cdef class CapturedCall:
    """A captured call: guards, effects and a program."""

    def __dealloc__(self):
        free(self.form)
        free(self.input)
        free(self.used)

    # ----- capture -----------------------------------------------------------------------------------------------

    cdef object capture(self, function, Environment environment, tuple given, object structure, list leaves, set passes,
                        set fixed):
        """Call ``function`` on copies of the arguments ``leaves`` and write down what it launches; returns its result,
        or ``NOT_CAPTURED`` without a call while another thread captures.
        ``environment`` is what the function can reach now, ``given`` what the leaves are of. A float may move, unless
        its binding is among the ``fixed``."""
        cdef Program program = Program()
        cdef LaunchList before
        cdef Array a, x
        cdef Py_ssize_t i, count = 0
        cdef Storage **dropped = NULL
        cdef dict copies = {}
        cdef list containers, copied, nodes = [], given_nodes = []
        cdef list passed = list(leaves), samples = [], expected = []
        cdef set read = set(), own = set()
        cdef SymbolicFloat number
        cdef Product one
        cdef Effect effect
        cdef bint failed = True
        cdef list values = None
        self.forward = program
        self.function, self.structure, self.leaves = function, structure, len(leaves)
        self.form = <char *> malloc(self.leaves + 1)
        if self.form == NULL:
            raise MemoryError("compile: no memory for the plan")
        self.numbers, self.inputs, self.same, self.products, self.needed = [], [], [], [], {}
        self.flat = structure == flatten(((None,) * self.leaves, {}))[1]
        if not keep_blocks():                           # what is made from now on is known to be the capture's
            return NOT_CAPTURED
        program.number, self.recording, self.default_float = capture, grad_enabled(), default_float
        moved, before, started, result = random_states(), None, False, None
        try:
            for i, o in enumerate(leaves):
                self.form[i] = VALUE
                if may_be_symbolic(o) and i not in fixed and not environment.exact:
                    passed[i] = number = symbolic_float(o, i)
                    self.numbers.append((i, number.array))
                    self.form[i] = MOVES
                    expected.append(type(o))
                    continue
                if not isinstance(o, Array) or is_parameter(<Array> o):
                    expected.append(snapshot_of(o))
                    continue
                self.form[i] = TENSOR
                if id(o) not in copies:
                    copies[id(o)] = i
                    passed[i] = x = plain_copy(<Array> o)
                    if (<Array> o).needs_grad and grad_enabled():
                        record_result(x, b"argument", argument_vjp, None, [o])
                    self.inputs.append(i)
                    self.needed[i] = x.needs_grad
                    samples.append(x)
                    given_nodes.append(x.node)
                    own.add(<size_t> x.storage)
                else:
                    self.same.append((i, copies[id(o)]))
                    passed[i] = passed[copies[id(o)]]
                expected.append(passed[i])
            program.sequence.profile = profiling()
            program.sequence.arguments = {id(passed[i]): (leaves[i], (<Array> passed[i]).node, self.needed[i])
                                          for i in self.inputs}
            before, started = set_recording(program.sequence), True
            start_notes()
            note_reads_in(read)
            args, kwargs = unflatten(structure, iter(passed))
            original = partial(as_given, {id(o): leaf for o, leaf in zip(passed, leaves)},
                               {<size_t> (<Array> passed[i]).storage: (passed[i], leaves[i]) for i in self.inputs})
            containers, copied = containers_of(given), containers_of((args, kwargs))
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                original_of(error, containers, copied, original)
                raise
            finally:
                environment.give_originals(original)
                give_back(containers, copied, original)
            self.as_it_is = program.sequence.as_it_is
            if program.sequence.asks_arguments:
                self.graphs = [(i, (<Array> leaves[i]).needs_grad, is_leaf(<Array> leaves[i])) for i in self.inputs]
            if are_other_parts(structure, passed, args, kwargs):
                self.as_it_is = "it changes a list, dict or object among its arguments; return what is new instead"
            environment.note_sets()
            if self.as_it_is is None and not environment.unchanged():
                self.as_it_is = f"it changes {environment.changed} outside; return what is new, or write into a tensor"
                self.around = environment
            nodes = [(<Array> x).node for x in samples]
            if any([(<Array> x).storage.version > 1 and (<Array> x).node is not was for x, was in
                    zip(samples, given_nodes)]):
                self.as_it_is = "it writes to an argument that takes part in a graph; write to a clone()"
            if environment.moved_generator([rng for rng, _, _ in program.sequence.draws]) is not None:
                self.as_it_is = "it draws from a generator itself; draw from an mgx.Generator, or give an int as rng="
            if self.recording != grad_enabled() or self.default_float != default_float:
                self.as_it_is = "it leaves grad mode or the default dtype switched; switch it outside, or `with`"
            if random_states() != moved:
                self.as_it_is = "it draws from Python's random or from numpy.random; draw with mgx.rand and its kin"
            elif has_generators_inside(program.sequence.draws):
                self.as_it_is = ("it makes or rewinds a numpy.random.Generator, or draws from it itself; draw from an "
                                 "mgx.Generator, or give an int as rng=")
            self.note_effects(program.sequence, samples)
            if returns_argument(result, copied):
                self.as_it_is = "it returns a list, dict or object of its arguments; return another one"
            found, self.tree = parts_of(result)
            if has_moving_keys(self.tree):
                self.as_it_is = "it returns a dict whose keys are tensors, or floats among its arguments"
            roots = self.describe(found, [o if isinstance(o, Array) else None for o in passed], environment.held)
            set_recording(None)
            if self.as_it_is is None and roots:
                self.pullback = Pullback()
                self.as_it_is = capture_pullback(self.pullback, program, roots, self.inputs, samples, environment)
            if self.as_it_is is not None:               # the call itself is right as it ran, and so are its graphs
                values = [original_of(result, containers, copied, original)]
                for effect in self.effects:
                    if effect.kind == OF_ATTRIBUTE and effect.value is not MISSING:
                        effect.target[effect.name] = original_of(effect.value, containers, copied, original)
            failed = False
        finally:
            if started:
                set_recording(before)
                stop_notes()
            program.sequence.profile = None
            note_reads_in(None)
            for x in samples:
                x.node = None
            nodes = [None if node is was else node for node, was in zip(nodes, given_nodes)]
            given_nodes = None
            if failed:                                  # as it would be if the function had run as it is
                self.write_back(leaves, samples, own)
            if values is None:                          # graphs go now as well
                for effect in self.effects or ():
                    effect.value = None
            result = passed = args = kwargs = x = a = copies = o = number = roots = found = original = copied = None
            self.keep_tensors(program.sequence, samples)
            # leaves that the call made for itself go with their gradients, whose storages launches name
            program.sequence.arguments = program.sequence.leaves = program.sequence.read_gradients = None
            dropped = kept_blocks(&count)
            if failed:
                self.outputs = self.effects = self.tree = None
                self.release(dropped, count)
        self.read = read
        self.expected = tuple([snapshot_of(leaves[i]) if i in read else e for i, e in enumerate(expected)])
        for i in read:
            self.form[i] = VALUE
        self.guards, self.own = by_life(program.sequence.reads.values())
        self.polled = [guard for guard in self.guards if guard.polled]
        self.environment = environment if self.as_it_is is None else None
        program.sequence.reads = None
        if values is not None:
            self.release(dropped, count)
            self.forward = self.pullback = self.outputs = None
            self.finish_as_it_is(leaves, samples, own, environment)
            for i, node in zip(self.inputs, nodes):     # what was written has a graph now, or became a leaf
                if node is not None:
                    (<Array> leaves[i]).node, (<Array> leaves[i]).needs_grad = node, True
            return values[0]
        numbers, saved = self.numbers, {}               # launches name all of them until the program holds its own
        self.numbers = [(i, array) for i, array in numbers if i not in read]
        try:
            movable = self.movable(samples)
            if self.pullback is not None:
                self.pullback.finalize(dropped, count, passes, program, numbers, self.inputs, samples)
                saved = self.pullback.saved
            made = [(<Output> o).what for o in self.outputs if (<Output> o).kind == FRESH
                    and <size_t> (<Array> (<Output> o).what).storage not in saved]
            program.finalize(dropped, count, passes, movable, made, saved)
            if self.pullback is not None:
                self.pullback.finish(program, numbers, self.inputs, samples, self.tensors)
            for a in environment.arrays:
                a.storage.held = True
            if saved:
                self.pullback.forward_binding = program.bind_block(saved, self.pullback.block)
            self.note_bindings(movable + made, samples, saved)
        finally:
            self.release(dropped, count)
        if self.conflicts(leaves):
            raise CaptureError("compile: an argument shares memory with another argument or a tensor that the function "
                               "uses, and one of them is written to; pass a clone()")
        self.handed_out = [one for one in self.products if one.leaf is None]
        for one in self.handed_out:
            one.current, one.array = one.array, geometry_of(one.array)
        for effect in self.effects:
            if effect.kind == OF_LEAF and not effect.freed and effect.tree is None and effect.output.kind == PRODUCT \
                    and effect.output.product.leaf is not None:
                effect.product = effect.output.product
        self.shared = {}
        self.is_one_array = (self.tree is None and self.results == 1 and (<Output> self.outputs[0]).kind == PRODUCT
                             and len(self.products) == 1 and not self.effects and not self.found and not self.mutates
                             and self.pullback is None and not environment.set_again)
        values = self.make_results(leaves)
        self.copy_back(leaves, None)
        if self.pullback is not None:
            self.pullback.attach(values, leaves, self)
        self.apply_effects(values, leaves)
        self.note_versions()
        return unflatten(self.tree, iter(values))

    cdef int note_versions(self) except -1:
        """The world is as the call left it; its own effects may be such that the next call is another one."""
        self.world = world_version if self.guards_hold() else -1
        self.gradients = grad_version if self.steady else -1
        return 0

    cdef int write_back(self, object leaves, list samples, set own) except -1:
        """Do to the arguments what the call did to its copies of them, whose ``own`` storages these were."""
        cdef Array x
        for i, x in zip(self.inputs, samples):
            leaf = leaves[i]
            if <size_t> x.storage not in own:
                leaf.data = x
            elif x.storage.version > 1:
                check_writable(<Array> leaf, "compile")
                copy(x, <Array> leaf)
        return 0

    cdef int finish_as_it_is(self, object leaves, list samples, set own, Environment environment) except -1:
        """The call ran on copies of its arguments: what it did to them is done to the arguments."""
        cdef Effect effect
        cdef Array a
        self.write_back(leaves, samples, own)
        for effect in self.effects:
            if effect.kind == OF_ARGUMENT:
                a = <Array> leaves[effect.target]
                a.requires_grad_(effect.name)
                if effect.value is not None:
                    node_of(a).grad = effect.value
        self.effects = []
        self.changed = [guard for guard in self.guards if not (<Guard> guard).holds()]
        self.guards = [guard for guard in self.guards if guard not in self.changed]
        if self.changed:                        # of one object, which another one may take the place of
            self.around = environment
        if self.may_settle():
            self.renew()
        self.tensors = [entry for entry in self.tensors if tensor_is_as_noted(entry)]
        return self.note_versions()

    cdef int release(self, Storage **dropped, Py_ssize_t count) except -1:
        """Free what the capture kept and nobody refers to."""
        cdef Py_ssize_t i
        hold_host_operands(self.forward.sequence)
        if self.pullback is not None:
            self.pullback.hold_operands()
        for i in range(count):
            if dropped[i].refs == 0:
                forget_block(dropped[i])
        free(dropped)
        return 0

    cdef int keep_tensors(self, LaunchList recording, list samples) except -1:
        """Of the tensors that the call met those that somebody still holds, and that are no argument."""
        cdef set own = {id(x) for x in samples}
        cdef list entries = list(recording.outside.values())
        cdef tuple entry
        cdef Array a
        recording.outside.clear()
        self.tensors = []
        while entries:
            entry = entries.pop()
            a = <Array> entry[0]
            if (<PyObject *> a).ob_refcnt > 2:                               # more than the entry and `a`
                if id(a) not in own:
                    self.tensors.append(entry)
                    a.storage.held = True           # what becomes of it is told
            else:
                self.as_it_is = "it replaces a tensor that it read; write into it instead"
            a = None
        return 0

    cdef int note_effects(self, LaunchList recording, list samples) except -1:
        """What the call read of gradients, and what it changed besides numbers."""
        cdef Node node
        cdef Found one
        cdef Array a
        cdef set own = {id((<Array> x).node) for x in samples if (<Array> x).node is not None}
        self.found, self.effects, self.steady = [], [], True
        for node, old in recording.leaves.items():
            if id(node) in own or node.born == self.forward.number:       # of a leaf that the call has made itself
                continue
            if node in recording.read_gradients:
                one = Found()
                one.node, one.was, one.binding = node, old, UNUSED
                self.found.append(one)
                self.steady = self.steady and (node.grad is old or old is None and node.grad is None)
            if node.grad is not old:
                self.effects.append(effect_of(OF_LEAF, node, None, node.grad))
        for (_, name), attributes in recording.writes.items():
            if name == "_hooks":
                self.as_it_is = "it registers a hook of a module; do that outside"
                continue
            self.effects.append(effect_of(OF_ATTRIBUTE, attributes, name, attributes.get(name, MISSING)))
        for i, a in zip(self.inputs, samples):
            if a.needs_grad != self.needed[i] or a.node is not None and a.node.grad is not None:
                self.as_it_is = "it sets requires_grad of an argument, or leaves a gradient there; do that outside"
                self.effects.append(effect_of(OF_ARGUMENT, i, a.needs_grad, None if a.node is None else a.node.grad))
        for a, _, wants, *_ in list(recording.outside.values()):
            if a.needs_grad != <bint> wants and not any([a is x for x in samples]):
                self.effects.append(effect_of(OF_MODE, a, a.needs_grad, None))
        return 0

    cdef list describe(self, list leaves, list arguments, dict around):
        """Where a replay has each leaf of the result, and each value of an effect, from; returns (number, array) of the
        results that were recorded in a graph."""
        cdef list outputs = [], values, roots = []
        cdef dict seen = {}, by_storage = {}
        cdef Array a
        cdef Found one
        cdef Effect effect
        cdef list spans = []
        self.results = len(leaves)
        values = list(leaves)
        for effect in self.effects:
            parts = [effect.value]
            if holds_new_array(effect.value, self.forward.number):
                parts, effect.tree = parts_of(effect.value)
            spans.append((len(values), len(values) + len(parts), effect))
            values += parts
        belongs_to = {k: effect for first, last, effect in spans for k in range(first, last)}
        for o in values:
            if isinstance(o, Array) and (<Array> o).storage.born == self.forward.number:
                by_storage.setdefault(<size_t> (<Array> o).storage, {})[id(o)] = o
        for k, o in enumerate(values):
            if isinstance(o, SymbolicFloat) and (<SymbolicFloat> o).given is not None:
                outputs.append((GIVEN, min((<SymbolicFloat> o).sources)))
                continue
            if not isinstance(o, Array):
                o = plain(o)
                self.as_it_is = self.as_it_is or why_as_it_is(o, self.forward.number, around)
                outputs.append((CONSTANT, o))
                continue
            if id(o) in seen:
                outputs.append((AGAIN, seen[id(o)]))
                continue
            seen[id(o)] = len(outputs)
            a = <Array> o
            if a.needs_grad and a.storage.born == self.forward.number and (a.node is None or a.node.v.op == OP_LEAF):
                self.as_it_is = "it makes a tensor that requires a gradient, and keeps or returns it; make that outside"
            if a.needs_grad and a.node is not None and a.node.v.op != OP_LEAF and a.node.born == self.forward.number:
                if k < self.results:
                    roots.append((k, a))
                elif a.node.v.op == OP_FREED and (<Effect> belongs_to[k]).tree is None:
                    (<Effect> belongs_to[k]).freed = True
                else:
                    self.as_it_is = "it keeps a tensor with a graph in an attribute or as a gradient; return it instead"
            for one in self.found:
                if one.was is a:
                    outputs.append((GRADIENT, one))
                    break
            else:
                outputs.append(self.output_of(a, arguments, by_storage))
        self.outputs = [new_output(kind, what) for kind, what in outputs]
        for first, last, effect in spans:
            effect.output, effect.outputs = self.outputs[first], self.outputs[first:last]
        self.leaf_of_effect = {first: effect.target for first, _, effect in spans if effect.kind == OF_LEAF}
        return roots

    cdef tuple output_of(self, Array a, list arguments, dict by_storage):
        """(Output, from where) of one array."""
        cdef Array flat
        cdef Py_ssize_t size
        for i, o in enumerate(arguments):
            if o is a:
                return GIVEN, i
        for i, o in enumerate(arguments):
            if o is not None and (<Array> o).storage == a.storage and self.form[i] == TENSOR:
                return VIEW, (i, geometry_of(a), a.data - (<Array> o).data)
        if a.storage.born != self.forward.number:
            if a.needs_grad and a.node is not None and a.node.born == self.forward.number and a.node.v.op != OP_LEAF:
                return ALIAS, detached(a)
            return CONSTANT, a
        group = by_storage[<size_t> a.storage]
        if len(group) == 1:
            return FRESH, detached(a) if a.node is not None or a.needs_grad else a
        if "flat" not in group:                         # several share their memory: it is copied as a whole
            size = a.storage.nbytes // itemsize[a.dtype_]
            flat = alias(a, a.storage.data, a.dtype_, 1, &size, &itemsize[a.dtype_])
            group["flat"] = flat
        return PART, (group["flat"], geometry_of(a), a.data - a.storage.data)

    cdef list movable(self, list samples):
        """The arrays that may be others at each replay: arguments that are not written, gradients, what is made."""
        cdef list arrays = []
        cdef Array x
        cdef Found one
        cdef set seen = set()
        arrays = [x for x in samples if (<Array> x).storage.version <= 1]
        self.mutates = len(arrays) < len(samples)
        for one in self.found:
            if one.was is not None and <size_t> one.was.storage not in seen and not any(
                    [(<Array> a).storage == one.was.storage and a is not one.was for a, *_ in self.tensors]):
                seen.add(<size_t> one.was.storage)
                arrays.append(one.was)
        return arrays

    cdef int note_bindings(self, list movable, list samples, dict saved) except -1:
        """Note which binding of the program each input, gradient and product has."""
        cdef dict by_id = {id(a): binding for a, binding in zip(movable, self.forward.bindings)}
        cdef Found one
        cdef Product product
        cdef Output output
        cdef Array a
        cdef Py_ssize_t k
        cdef list names = [""] * self.forward.binding_count
        self.forward.names = names
        self.input = <Input *> malloc((len(samples) + 1) * sizeof(Input))
        self.used = <Storage **> malloc((len(samples) + 1) * sizeof(Storage *))
        if self.input == NULL or self.used == NULL:
            raise MemoryError("compile: no memory for the plan")
        for k, x in enumerate(samples):
            binding = by_id.get(id(x), COPIED)
            self.input[k].leaf, self.input[k].written = self.inputs[k], (<Array> x).storage.version > 1
            self.input[k].binding = UNUSED if binding is None else binding
            self.input[k].offset = -1
            a = <Array> x
            if <size_t> a.storage in saved:
                self.input[k].offset = saved[<size_t> a.storage] + (a.data - a.storage.data)
            if self.input[k].binding >= 0:
                names[binding] = f"argument {self.inputs[k]}"
        self.input_count = len(samples)
        self.apart = len({<size_t> one.was.storage for one in self.found if one.was is not None
                          and by_id.get(id(one.was), COPIED) is not None})
        for k, one in enumerate(self.found):
            binding = None if one.was is None else by_id.get(id(one.was), COPIED)
            one.binding = UNUSED if binding is None else binding
            if one.binding >= 0:
                names[one.binding] = f"gradient {k}"
                one.was.storage.held = True
        for k, output in enumerate(self.outputs):
            kind, what = output.kind, output.what
            a = what[0] if kind == PART else what if kind == FRESH else None
            if a is not None and <size_t> a.storage in saved:       # it is where the backward pass reads it
                offset = saved[<size_t> a.storage]
                output.kind, output.what = SAVED, (geometry_of(a), offset + (a.data - a.storage.data)) \
                    if kind == FRESH else (what[1], offset + what[2])
                continue
            binding = by_id.get(id(what)) if kind == FRESH else None
            if binding is None or binding < 0:
                continue
            names[binding] = f"result {k}" if k < self.results else f"effect {k - self.results}"
            product = Product()
            product.array, product.binding = a, binding
            product.nbytes, product.offset = a.storage.nbytes, a.data - a.storage.data
            product.leaf = self.leaf_of_effect.get(k)
            output.kind, output.what, output.product = PRODUCT, None, product
            self.products.append(product)
        return 0

    # ----- does it fit? ------------------------------------------------------------------------------------------

    cdef bint match(self, object structure, object leaves) except -1:
        cdef Py_ssize_t i, j, k
        cdef PyObject *o
        cdef PyObject *e
        cdef PyObject **item = PySequence_Fast_ITEMS(leaves)
        cdef Array a, x
        if self.recording != grad_enabled() or self.default_float != default_float or len(leaves) != self.leaves or \
                structure is not self.structure and structure != self.structure:
            return False
        for i in range(self.leaves):
            o, e = item[i], <PyObject *> self.expected[i]
            if self.form[i] == MOVES:
                if <PyObject *> o.ob_type != e:
                    return False
            elif self.form[i] == TENSOR:
                if not is_array(o):
                    return False
                a, x = <Array> <object> o, <Array> <object> e
                if a.needs_grad != x.needs_grad or a.dtype_ != x.dtype_ \
                        or not same_shape(a, x) or not same_strides(a, x):
                    return False
            elif o != e and not unchanged(<object> e, <object> o):
                return False
        for i, j in self.same:
            if leaves[i] is not leaves[j]:
                return False
        if self.graphs is not None:
            for i, needs_grad, leaf in self.graphs:
                if (<Array> leaves[i]).needs_grad != <bint> needs_grad or is_leaf(<Array> leaves[i]) != <bint> leaf:
                    return False
        if self.mutates:
            for i in range(self.input_count):
                for k in range(i):
                    if item[self.input[i].leaf] == item[self.input[k].leaf]:
                        return False
        return True

    cdef bint holds(self, object leaves) except -1:
        cdef Guard guard
        cdef Py_ssize_t k
        cdef Array a
        if self.world != world_version:
            if not self.guards_hold() or not self.gradients_hold():
                return False
            self.world = world_version
        elif self.gradients != grad_version and not self.gradients_hold():
            return False
        for guard in self.polled:
            if not guard.holds():
                self.failed = guard.text
                return False
        if self.environment is not None:
            if not self.environment.unchanged():
                self.failed = self.environment.changed
                return False
            for k in range(self.input_count):
                a = <Array> PySequence_Fast_ITEMS(leaves)[self.input[k].leaf]
                if a.storage.held and self.environment.shares_memory(a):
                    self.failed = MEMORY
                    return False
        if self.forward is not None and (self.mutates or self.forward.changed_count or self.found) \
                and self.conflicts(leaves):
            self.failed = MEMORY
            return False
        return True

    cdef bint may_settle(self) noexcept:
        """Does it run as it is and change what it depends on? A later call may not do so."""
        return self.around is not None

    cdef bint renew(self) except -1:
        """Note what that is now; was it changed?"""
        cdef Guard guard
        cdef bint changed = self.around.renew()
        for guard in self.changed:
            changed = guard.renew() or changed
        return changed

    cdef bint is_still(self) except -1:
        """Is that as the last call left it, and did that one not change it either? Then another capture may find a call
        that can be replayed."""
        if not self.renew():
            return not self.moves
        self.moves = False
        return False

    cdef bint guards_hold(self) except -1:
        cdef Guard guard
        for guard in self.guards:
            if not guard.holds():
                self.failed = guard.text
                return False
        for entry in self.tensors:
            if not tensor_is_as_noted(entry):
                self.failed = f"the storage, hooks or requires_grad of a tensor of shape {shape_of(<Array> entry[0])}"
                return False
        return True

    cdef int count_holds(self, dict counts) except -1:
        """Add to {address of a storage: how many programs hold it}."""
        cdef Program program
        for program in [self.forward] + ([] if self.pullback is None else self.pullback.programs()):
            if program is not None:
                program.count_holds(counts)
        return 0

    cdef bint is_lost(self, set unreachable, dict holds) except -1:
        """Does it wait for something that only captured calls hold, and that can never be again? ``unreachable``:
        addresses of such objects. ``holds``: how many programs hold a storage."""
        cdef Storage *s
        cdef Found one
        cdef Guard guard
        cdef Py_ssize_t k
        for entry in self.tensors:
            s = <Storage *> <size_t> entry[1]
            if id(entry[0]) in unreachable or (<Array> entry[0]).storage != s and <size_t> s in holds \
                    and s.refs == <Py_ssize_t> holds[<size_t> s]:
                return True
        for guard in self.guards:
            if guard.is_lost(unreachable):
                return True
        for one in self.found:
            if id(one.node) in unreachable:
                return True
        for k in range(self.leaves):
            if self.form[k] == VALUE and part_is_lost(self.expected[k], unreachable):
                return True
        return self.environment is not None and self.environment.is_lost(unreachable)

    cdef bint gradients_hold(self) except -1:
        """Do the same leaves have gradients, each of its own?"""
        cdef Found one
        cdef Array g
        cdef set storages
        cdef Py_ssize_t named = 0
        if not self.found:
            return True
        storages = set()
        for one in self.found:
            g = <Array> one.node.grad
            if (g is None) != (one.was is None):
                self.failed = "which leaves have a gradient"
                return False
            if g is None or one.binding == UNUSED or g is one.was and g.storage == one.was.storage and one.binding < 0:
                continue
            named += 1
            storages.add(<size_t> g.storage)
            if g is one.was:
                continue
            if one.binding < 0 or g.needs_grad != one.was.needs_grad or not same_strides(g, one.was) \
                    or not same_shape(g, one.was) or g.storage.readonly \
                    or g.storage.held and self.forward.holds(g.storage):
                self.failed = "where a gradient is stored"
                return False
        if len(storages) != self.apart \
                or self.apart < named and any([one.node.grad is not one.was for one in self.found]):
            self.failed = "leaves that share a gradient"
            return False
        return True

    cdef bint conflicts(self, object leaves) except -1:
        """Does an argument share memory with another, or with what the call uses, and one of them is written?"""
        cdef Py_ssize_t k, j
        cdef PyObject **item = PySequence_Fast_ITEMS(leaves)
        cdef Storage *s
        cdef Storage *t
        cdef Found one
        for k in range(self.input_count):
            s = (<Array> item[self.input[k].leaf]).storage
            if s.held:
                if self.forward.changes(s) or self.input[k].written and self.forward.holds(s):
                    return True
                for one in self.found:
                    if one.node.grad is not None and (<Array> one.node.grad).storage == s:
                        return True
            if s.owner != NULL and self.forward.meets_borrowed(s, self.input[k].written):
                return True
            if self.mutates:
                for j in range(k):
                    t = (<Array> item[self.input[j].leaf]).storage
                    if (self.input[k].written or self.input[j].written) \
                            and s.data < t.data + t.nbytes and t.data < s.data + s.nbytes:
                        return True
        return False

    # ----- replay ------------------------------------------------------------------------------------------------

    cdef object replay(self, object leaves):
        """Run the launches on other arguments; the caller has made sure that all guards hold."""
        cdef Py_ssize_t k, used = 0
        cdef PyObject **item = PySequence_Fast_ITEMS(leaves)
        cdef Input *input
        cdef Array a, x
        cdef Found one
        cdef Product product
        cdef list values
        cdef Program program = self.forward
        cdef Array block = None
        self.busy = True
        try:
            for k, x in self.numbers:
                fill(x, leaves[k])
            if self.pullback is not None and self.pullback.forward_binding >= 0:
                block = self.pullback.take_block()
                program.rebind(self.pullback.forward_binding, block)
            for k in range(self.input_count):
                input = &self.input[k]
                if input.binding == UNUSED:
                    continue
                a = <Array> item[input.leaf]
                if input.binding == COPIED:
                    if input.written:
                        check_write(a, "compile")
                    copy(a, self.copy_of(input, block))
                else:                                   # held: a finalizer or another thread may give it other data
                    self.used[used] = a.storage
                    a.storage.refs += 1
                    used += 1
                    program.rebind(input.binding, a)
            for one in self.found:
                if one.binding >= 0:
                    one.was = <Array> one.node.grad
                    one.was.storage.held = True
                    program.rebind(one.binding, one.was)
            for k in range(len(self.products)):
                product = <Product> PyList_GET_ITEM(self.products, k)
                program.rebind(product.binding, product.make())
            program.run()
            if self.is_one_array:
                product = <Product> PyList_GET_ITEM(self.products, 0)
                result, product.current = product.current, None
                return result
            values = self.make_results(leaves)
            if self.mutates:
                self.copy_back(leaves, block)
            if self.pullback is not None:
                self.pullback.attach(values, leaves, self)
            self.apply_effects(values, leaves)
            if self.steady:
                self.gradients = grad_version
        finally:
            while used:
                used -= 1
                unref(self.used[used])
            self.busy = False
            self.replays += 1
        return values[0] if self.tree is None else unflatten(self.tree, iter(values))

    cdef list make_results(self, object leaves):
        """The leaves of the result, in arrays of their own."""
        cdef list values = []
        cdef Output output
        cdef Py_ssize_t k
        for k in range(self.results):
            output = <Output> PyList_GET_ITEM(self.outputs, k)
            if output.kind == PRODUCT:
                values.append(output.product.current)
            else:
                values.append(self.output(output, values, leaves))
        if self.shared:
            self.shared.clear()
        return values

    cdef object output(self, Output output, list values, object leaves):
        """A leaf of the result, or the value of an effect."""
        cdef Array geometry, base
        cdef Py_ssize_t offset
        cdef int kind = output.kind
        what = output.what
        if kind == CONSTANT:
            return what
        if kind == PRODUCT:
            return output.product.array if output.product.leaf is not None else output.product.current
        if kind == FRESH:
            return plain_copy(<Array> what)
        if kind == GIVEN:
            return leaves[what]
        if kind == AGAIN:
            return values[what] if what < len(values) else self.output(self.outputs[what], values, leaves)
        if kind == ALIAS:
            base = <Array> what
            return view_of(base, base.data, base.ndim, base.shape_, base.strides_)
        if kind == SAVED:
            geometry, offset = what
            base = self.pullback.block
            return plain_copy(alias(base, base.data + offset, geometry.dtype_, geometry.ndim, geometry.shape_,
                                    geometry.strides_))
        if kind == GRADIENT:
            return (<Found> what).was
        if kind == VIEW:
            base, geometry, offset = leaves[what[0]], what[1], what[2]
            offset += base.data - base.storage.data
        else:
            flat, geometry, offset = what
            base = self.shared.get(id(flat))
            if base is None:
                base = self.shared[id(flat)] = plain_copy(<Array> flat)
        return alias(base, base.storage.data + offset, geometry.dtype_, geometry.ndim, geometry.shape_,
                     geometry.strides_)

    cdef object effect_value(self, Effect effect, list values, object leaves):
        """What a replay assigns."""
        if effect.tree is None:
            return self.output(effect.output, values, leaves)
        return unflatten(effect.tree, iter([self.output(output, values, leaves) for output in effect.outputs]))

    def run_again(self, leaves, list parents, list cotangents):
        """The gradients of ``parents`` for ``cotangents`` of the results that have a graph, None for one that got none:
        by the function as it is, which is recorded again."""
        cdef Array a, x
        cdef list passed = list(leaves), nodes = [], live = [], given = []
        if self.effects or self.forward.writes_outside or self.forward.sequence.hosts or self.mutates:
            raise CaptureError("backward: this needs the function of a compiled call once more (a second derivative, "
                               "or a gradient of some of its results), and the function writes, draws or has other "
                               "effects")
        if not self.guards_hold() or not self.environment.unchanged():
            raise CaptureError("backward: this needs the function of a compiled call once more (a second derivative, "
                               "or a gradient of some of its results), and what it depends on has changed since: "
                               f"{self.failed or self.environment.changed}")
        for i in self.inputs:
            a = <Array> leaves[i]
            x = alias(a, a.data, a.dtype_, a.ndim, a.shape_, a.strides_)
            if a.needs_grad:
                record_result(x, b"argument", input_vjp, None, [a] if grad_enabled() else [])
            passed[i] = x
        for i, j in self.same:
            passed[i] = passed[j]
        with enable_grad():
            args, kwargs = unflatten(self.structure, iter(passed))
            results = flatten(self.function(*args, **kwargs), True)[0]
        for parent in parents:
            nodes.append((<Array> passed[parent]).node if isinstance(parent, int) else parent)
        k = 0
        for number, freed in self.pullback.roots:
            if not freed:
                if cotangents[k] is not None and results[number].requires_grad:
                    live.append(results[number])
                    given.append(cotangents[k])
                k += 1
        return gradients("compile", live, nodes, given, True, grad_enabled(), True)

    cdef Array copy_of(self, Input *input, Array block):
        """The array that stands for an argument whose numbers are copied."""
        cdef Array x = <Array> self.expected[input.leaf]
        if block is None or input.offset < 0:
            return x
        return alias(block, block.data + input.offset, x.dtype_, x.ndim, x.shape_, x.strides_)

    cdef int copy_back(self, object leaves, Array block) except -1:
        """What the call wrote to its copies of arguments."""
        cdef Py_ssize_t k, i
        for k in range(self.input_count):
            i = self.input[k].leaf
            if self.input[k].written:
                check_writable(<Array> leaves[i], "compile")
                copy(self.copy_of(&self.input[k], block), <Array> leaves[i])
        return 0

    cdef int apply_effects(self, list values, object leaves) except -1:
        cdef Py_ssize_t k
        cdef Effect effect
        cdef Node node
        cdef Array a
        cdef bint changed = False
        for k in range(len(self.effects)):
            effect = <Effect> PyList_GET_ITEM(self.effects, k)
            if effect.kind == OF_LEAF and effect.product is not None:
                node = <Node> effect.target
                if node.grad is not effect.product.array:
                    node.grad = effect.product.array
                    bump_gradients()
                continue
            value = self.effect_value(effect, values, leaves)
            if effect.freed:                            # its graph was freed within the call
                a = <Array> value
                a.node, a.needs_grad = new_node(OP_FREED, a), True
            if effect.kind == OF_LEAF:
                node = <Node> effect.target
                if node.grad is not value:
                    node.grad = value
                    bump_gradients()
            elif effect.kind == OF_ATTRIBUTE:
                if effect.target.get(effect.name, MISSING) is not value:
                    if value is MISSING:
                        effect.target.pop(effect.name, None)
                    else:
                        effect.target[effect.name] = value
                    changed = True
            else:
                a = <Array> (leaves[effect.target] if effect.kind == OF_ARGUMENT else effect.target)
                if a.needs_grad != <bint> effect.name:
                    a.requires_grad_(effect.name)
                if effect.kind == OF_ARGUMENT and value is not None:
                    node_of(a).grad = value
        for k in range(len(self.handed_out)):
            (<Product> PyList_GET_ITEM(self.handed_out, k)).current = None
        if self.shared:
            self.shared.clear()
        if changed:
            change_world()
        if self.environment is not None and self.environment.set_again:
            self.environment.repeat_sets()
        return 0

    # ----- what it is --------------------------------------------------------------------------------------------

    def seconds(self, Py_ssize_t rounds=20):
        """The least time of every launch over some runs whose writes are taken back; None with host launches, which
        may do what cannot be taken back, and where a gradient that the call reads is not there."""
        cdef Array a
        cdef Found one
        cdef Product product
        cdef Py_ssize_t k
        if self.busy:
            raise CaptureError("compile: this program is running already, in another thread; give each thread its own")
        self.busy = True
        try:
            made = []
            for k in range(self.input_count):
                if self.input[k].binding >= 0:
                    self.forward.rebind(self.input[k].binding, <Array> self.expected[self.input[k].leaf])
            for one in self.found:
                if one.binding >= 0:
                    if one.node.grad is None:
                        return None
                    self.forward.rebind(one.binding, <Array> one.node.grad)
            if self.pullback is not None and self.pullback.forward_binding >= 0:
                self.forward.rebind(self.pullback.forward_binding, self.pullback.take_block())
            for product in self.products:
                a = with_storage(product.array, product.nbytes, product.offset)
                made.append(a)
                self.forward.rebind(product.binding, a)
            return self.forward.time_launches(rounds)
        finally:
            self.busy = False

    def explain(self):
        """The call as text: a table of its launches, and what it depends on."""
        if self.as_it_is is not None:
            return f"runs as it is: {self.as_it_is}"
        text = table(self.forward, self.seconds(), self.read, [guard.text for guard in self.guards])
        if self.failed is not None:
            text += f"\nanother call was captured because this had changed: {self.failed}"
        return text


cdef tuple by_life(object guards):
    """Guards of what somebody holds, and those of modules and optimizers that the call has made for itself and will
    make again."""
    cdef dict count = {}
    cdef list living = [], own = []
    cdef Guard guard
    for guard in guards:
        if guard.owner is not None:
            count[id(guard.owner)] = count.get(id(guard.owner), 0) + 1
    for guard in guards:
        owner = guard.owner
        (living if owner is None or (<PyObject *> owner).ob_refcnt > count[id(owner)] + 1 else own).append(guard)
        owner = None
    return living, own


cdef tuple parts_of(object o):
    """(leaves, structure); what holds itself is a leaf."""
    try:
        return flatten(o, True)
    except RecursionError:
        return [o], None


cdef bint are_other_parts(object structure, list passed, object args, object kwargs) except -1:
    """Has the function changed a list, dict or object among its arguments?"""
    cdef list leaves
    leaves, now = parts_of((args, kwargs))
    return now != structure or any([a is not b for a, b in zip(leaves, passed)])


def as_given(dict originals, dict memory, object o):
    """What the function returned, or put into a list, in a call that ran as it is, on copies of its arguments: one of
    the ``originals``, or a view of one; ``memory`` tells whose copy has a storage."""
    cdef Array a, copied, given
    cdef bint is_view
    if id(o) in originals:
        return originals[id(o)]
    if isinstance(o, SymbolicFloat):
        return number_now(<SymbolicFloat> o)
    if isinstance(o, Array) and not (<Array> o).graph_view:
        a = <Array> o
        if <size_t> a.storage in memory:
            copied, given = memory[<size_t> a.storage]
            is_view = a.view
            share_storage(a, alias(given, given.data + (a.data - copied.data), a.dtype_, a.ndim, a.shape_, a.strides_))
            a.view = is_view
            a.storage.views += is_view
    return o


cdef tuple random_states():
    """Of Python's and NumPy's generators that all share."""
    cdef object legacy = sys.modules.get("numpy.random")
    return getstate(), None if legacy is None else repr(legacy.get_state(legacy=False))


cdef bint has_generators_inside(list draws) except -1:
    """Does each call make a generator of NumPy's, or does somebody else move it? A replay draws on from where it is."""
    cdef dict states = {}
    for rng, before, after in draws:
        if states.setdefault(id(rng), before) != before:
            return True
        states[id(rng)] = after
    for rng, _, _ in draws:                             # each draw holds it twice: here, and in its host launch
        noted = 2 * sum([other is rng for other, _, _ in draws])
        if states[id(rng)] != rng.bit_generator.state or (<PyObject *> rng).ob_refcnt <= noted + 1:
            return True
    return False


cdef bint returns_argument(object result, list containers) except -1:
    """Is one of the lists, dicts and objects that the function got what it returns, or in it?"""
    cdef dict known = {id(o): o for o in containers if not isinstance(o, tuple)}
    try:
        return any([id(o) in known for o in containers_of(result)])
    except RecursionError:                              # it holds itself
        return False


cdef bint holds_new_array(object o, uint16_t number) except -1:
    """Is it a list, tuple or dict with what the call under capture has made: tensors, or numbers that move?"""
    return isinstance(o, (list, tuple, dict)) and any([
        isinstance(leaf, SymbolicFloat) or isinstance(leaf, Array) and (<Array> leaf).storage.born == number
        for leaf in parts_of(o)[0]])


cdef bint has_moving_keys(object structure) except -1:
    if structure is None:
        return False
    _, keys, parts = structure
    return any([isinstance(key, tuple) and isinstance(key[1], (SymbolicFloat, Array)) for key in keys or ()]) \
        or any([has_moving_keys(part) for part in parts])


cdef bint holds_what_moves(object root, uint16_t number) except -1:
    """Does an object of any class hold what the call under capture has made: tensors, or numbers that move?"""
    cdef list waiting = [root]
    cdef dict seen = {}                                 # keeps what was seen, so that no address is used twice
    while waiting:
        o = waiting.pop()
        if isinstance(o, SymbolicFloat):
            return True
        if id(o) in seen or isinstance(o, (type, types.ModuleType, types.CodeType)):
            continue
        seen[id(o)] = o
        if isinstance(o, Array):
            if (<Array> o).storage.born == number:
                return True
        elif isinstance(o, types.FunctionType):
            waiting += [o.__closure__, o.__defaults__, o.__kwdefaults__]
        else:
            waiting += gc.get_referents(o)
    return False


def why_not_captured(object result):
    """Of the result of a call that ran as it is: why no capture could stand for such a call, or None."""
    for o in parts_of(result)[0]:
        if isinstance(o, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)) \
                or hasattr(type(o), "__next__"):
            return f"it returns an object of type {type(o).__name__}, which runs later; return a list"
    return None


cdef str why_as_it_is(object o, uint16_t number, dict around):
    """Of a result that every call makes again, and that no copy can stand for."""
    if holds_what_moves(o, number):
        return (f"it returns or keeps an object of type {type(o).__name__} that holds tensors; take a tuple, dict or "
                "dataclass")
    if id(o) not in around and not hasattr(type(o), "_is_noted") and (
            isinstance(o, (list, dict, set, bytearray, deque, ndarray, partial)) or is_plain_object(o)
            or isinstance(o, types.FunctionType) and o.__closure__):
        return (f"it returns or keeps an object of type {type(o).__name__} that it makes; take a tuple, dict or "
                "dataclass")
    return None


cdef bint is_plain_object(object o) except -1:
    """Of a class of the user's, with attributes that somebody may assign."""
    kind = type(o)
    return kind.__dictoffset__ != 0 and not isinstance(o, (type, types.FunctionType, types.ModuleType)) \
        and not kind.__module__.startswith("microgradx.")
