"""Functions of Values under `compile`: a call is recorded while it runs as it is, and replayed by its nodes.

A replay computes node for node what the function did, linked in the same way, so every number and every gradient is
that of the call as it is, whatever is computed from the results. What is saved is Python's part of the work.
"""
from cpython cimport array
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from microgradx._core.graph cimport grad_enabled
from microgradx._core.kernels cimport *
from microgradx._core.capture.environment cimport Environment
from microgradx._core.scalar.lowering cimport Lowered, Numbers, Segment, lower, segment_of
from microgradx._core.trees cimport take_apart
from microgradx._core.value cimport (Moving, Recording, Replayed, Value, given_of, leaf, new_replayed,
                                     number, one_trace_at_a_time, replayed_node, start_tracing, stop_tracing, sum_node,
                                     table_node, tracing)

import enum
import operator
import random
import sys
import threading

import numpy as np

from microgradx._core.capture.explain import ADVICE
from microgradx._core.floats import behave_as_floats, both_ways
from microgradx._core.trees import flatten, unflatten
from microgradx.errors import CaptureError

cdef enum Form:                                     # how an argument is compared with the recorded one
    FREE, SAME, MOVES, EQUAL, IDENTICAL             # another Value; one given before; another float; by value; itself

cdef enum Output:                                   # where a replay has a leaf of the result from
    NODE, GIVEN, NUMBER, CONSTANT

cdef enum: SIZE = 16                                # recorded calls that are kept
cdef object one_recording_at_a_time = threading.Lock()


cdef bint begin_recording() except -1:
    """Whether this call may be recorded: not while another is, nor while another thread traces."""
    if not one_recording_at_a_time.acquire(False):
        return False
    if not one_trace_at_a_time.acquire(False):
        one_recording_at_a_time.release()
        return False
    return True


cdef int end_recording() except -1:
    one_trace_at_a_time.release()
    one_recording_at_a_time.release()
    return 0
cdef tuple BY_VALUE = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, enum.Enum, range, slice,
                       type(Ellipsis))
cdef dict OPERATORS = {MGX_add: operator.add, MGX_sub: operator.sub, MGX_mul: operator.mul}


# ----- numbers that move ----------------------------------------------------------------------------------------------

cdef class MovingFloat(Moving):
    cdef Numbers numbers
    cdef frozenset sources


class _Float(MovingFloat):
    """The same, and all that a float does."""
    __class__ = property(lambda self: type((<MovingFloat> self).given))


cdef object plain(object o):
    """The number that is now: from here on the recorded call is for this number only."""
    if not isinstance(o, MovingFloat):
        return o
    (<MovingFloat> o).numbers.read.update((<MovingFloat> o).sources)
    return (<MovingFloat> o).given


cdef MovingFloat moving_float(Numbers numbers, object given, frozenset sources):
    cdef MovingFloat n = _Float()
    n.numbers, n.given, n.sources, n.slot = numbers, given, sources, numbers.constant(given)
    return n


cdef object combined(int op, object a, object b):
    """A sum, difference or product of floats moves, too."""
    cdef MovingFloat one = a if isinstance(a, MovingFloat) else b, n
    cdef frozenset sources = frozenset()
    if type(a) is Value or type(b) is Value:
        return NotImplemented
    for o in (a, b):
        if type(given_of(o)) is not float and type(o) is not int:
            return OPERATORS[op](plain(a), plain(b))
        if isinstance(o, MovingFloat):
            sources |= (<MovingFloat> o).sources
    n = moving_float(one.numbers, OPERATORS[op](given_of(a), given_of(b)), sources)
    one.numbers.steps.extend((op, n.slot, one.numbers.slot_of(a), one.numbers.slot_of(b)))
    return n


def _combined(op, a, b):
    return combined(op, a, b)


behave_as_floats(_Float, lambda o: plain(o), both_ways(_combined, {"add": MGX_add, "sub": MGX_sub, "mul": MGX_mul}),
                 (Value,))


# ----- a recorded call ------------------------------------------------------------------------------------------------

cdef int gather_containers(object tree, list into) except -1:
    if isinstance(tree, (list, tuple, dict)):
        into.append(tree)
        for part in tree.values() if isinstance(tree, dict) else tree:
            gather_containers(part, into)
    return 0


cdef bint equal(object a, object b) except -1:
    if type(a) is not type(b):
        return False
    return repr(a) == repr(b) if isinstance(a, (float, complex, np.generic)) else bool(a == b)


cdef class RecordedCall:
    """A call that was recorded: what it depends on, and the nodes that it made."""
    cdef object structure, tree
    cdef list forms                                 # by leaf of the arguments: (Form, what)
    cdef bint graph                                 # whether graphs were recorded
    cdef bint complete                              # whether a replay can stand for the call
    cdef Environment environment
    cdef list inputs, moving                        # leaves that are Values; (leaf, slot) of those that move
    cdef list parameters, outputs
    cdef Lowered lowered                            # the nodes
    cdef Segment segment                            # what one node runs that stands for all, or None
    cdef array.array steps, numbers
    cdef readonly Py_ssize_t replays

    cdef bint match(self, object structure, list leaves) except -1:
        """Can this stand for a call with these arguments? ``structure`` is None if it is known to be the same."""
        cdef Py_ssize_t i
        cdef int form
        if structure is not None and self.structure != structure or self.graph != grad_enabled():
            return False
        for i in range(len(leaves)):
            o = leaves[i]
            form, what = <tuple> self.forms[i]
            if form == FREE:
                if type(o) is not Value or id(o) in self.environment.values:
                    return False
                for j in self.inputs:
                    if j < i and leaves[j] is o:
                        return False
            elif form == SAME:
                if o is not leaves[what]:
                    return False
            elif form == MOVES:
                if type(o) is not what:
                    return False
            elif form == EQUAL:
                if not equal(o, what):
                    return False
            elif o is not what:
                return False
        return self.environment.unchanged()

    cdef int describe(self, object function, object structure, list leaves, set fixed) except -1:
        """Note how arguments are compared; all that is no Value and no number belongs to what can be reached."""
        cdef list roots = [o for o in leaves if type(o) is not Value and not isinstance(o, BY_VALUE)]
        cdef dict first = {}
        self.structure, self.graph = structure, grad_enabled()
        self.environment = Environment([function, *roots], True)
        self.forms, self.inputs = [], []
        for i, o in enumerate(leaves):
            if type(o) is Value and id(o) not in self.environment.values:
                if id(o) in first:
                    self.forms.append((SAME, first[id(o)]))
                else:
                    first[id(o)] = i
                    self.inputs.append(i)
                    self.forms.append((FREE, None))
            elif type(o) in (float, np.float64) and i not in fixed and not self.environment.exact:
                self.forms.append((MOVES, type(o)))
            else:
                self.forms.append((EQUAL if isinstance(o, BY_VALUE) else IDENTICAL, o))
        return 0

    cdef str keep_nodes(self, Recording recording, Numbers numbers, object result, list leaves, list passed,
                        object arguments):
        """The nodes that the result was made from, as arrays; or why that cannot be."""
        cdef dict places = {}
        cdef list containers = [], own = []
        gather_containers(result, containers)
        gather_containers(arguments, own)
        seen = {id(o) for o in own if o != ()} | set(self.environment.containers)
        for o in containers:
            if id(o) in seen and type(o) is not tuple:
                return "the result is, or has twice, a list or dict that is there already"
            if type(o) not in (list, tuple, dict) and not hasattr(o, "_fields"):
                return f"a result of type {type(o).__name__}"
            seen.add(id(o))
        found, self.tree = flatten(result, True)
        self.lowered = lower(recording, numbers, [leaves[i] for i in self.inputs], found)
        self.parameters = self.lowered.parameters
        for o in self.parameters:
            if id(o) not in self.environment.values:
                return "a Value from where it is not seen"
        self.outputs = []
        positions = {id(o): i for i, o in enumerate(leaves) if type(o) is Value}
        for o, place in zip(found, self.lowered.places):
            if type(o) is Value:
                if place >= 0:
                    self.outputs.append((NODE, place))
                elif id(o) in self.environment.values:
                    self.outputs.append((CONSTANT, o))
                elif id(o) in positions:
                    self.outputs.append((GIVEN, positions[id(o)]))
                else:
                    return "a Value from where it is not seen"
            elif isinstance(o, Moving):
                places = {id(p): i for i, p in enumerate(passed)}
                self.outputs.append((GIVEN, places[id(o)]) if id(o) in places else (NUMBER, (<Moving> o).slot))
            elif isinstance(o, BY_VALUE):
                self.outputs.append((CONSTANT, o))
            else:
                return f"a result of type {type(o).__name__}"
        self.moving = []
        for i, o in enumerate(passed):
            if isinstance(o, Moving):
                if i in numbers.read:
                    self.forms[i] = (EQUAL, leaves[i])
                else:
                    self.moving.append((i, (<Moving> o).slot))
        self.segment = segment_of(self.lowered, numbers) if self.lowered.single else None
        self.steps, self.numbers = array.array("i", numbers.steps), array.array("d", reversed(numbers.initial))
        return None

    cdef int fill(self, double *y, list leaves) except -1:
        """The numbers of a call, which stand before ``y``."""
        cdef Py_ssize_t k, n = len(self.numbers)
        cdef int *step = self.steps.data.as_ints
        if n:
            memcpy(y - n, self.numbers.data.as_doubles, n * sizeof(double))
        for k, slot in self.moving:
            y[~<int> slot] = number(leaves[k], -1)
        for k in range(0, len(self.steps), 4):
            if step[k] == MGX_add:
                y[~step[k + 1]] = y[~step[k + 2]] + y[~step[k + 3]]
            elif step[k] == MGX_sub:
                y[~step[k + 1]] = y[~step[k + 2]] - y[~step[k + 3]]
            else:
                y[~step[k + 1]] = y[~step[k + 2]] * y[~step[k + 3]]
        return 0

    cdef object replay(self, list leaves):
        cdef list linked = [leaves[i] for i in self.inputs] + self.parameters
        cdef bint single = self.segment is not None
        for o in linked:
            single = single and (<Value> o).v.count == 0
        return self.replay_as_node(leaves, linked) if single else self.replay_nodes(leaves, linked)

    cdef object replay_as_node(self, list leaves, list linked):
        """One node stands for all; its gradients are theirs."""
        cdef Replayed *replayed = new_replayed(&self.segment.c)
        cdef Replayed *own
        cdef PyObject **links = <PyObject **> malloc((len(linked) + 1) * sizeof(PyObject *))
        cdef Py_ssize_t i
        try:
            if links == NULL:
                raise MemoryError(f"compile: no memory for {len(linked)} operands")
            self.fill(replayed.y, leaves)
            for i in range(len(linked)):
                links[i] = <PyObject *> linked[i]
                replayed.y[i] = (<Value> links[i]).y
            own, replayed = replayed, NULL
            return self.results(leaves, own.y, NULL, replayed_node(own, links, self))
        finally:
            free(replayed)
            free(links)

    cdef object replay_nodes(self, list leaves, list linked):
        """The same nodes again."""
        cdef Lowered lowered = self.lowered
        cdef Py_ssize_t nodes = len(lowered.ops), base = len(linked), i, k, count, at = 0
        cdef int *op = lowered.ops.data.as_ints
        cdef int *first = lowered.first.data.as_ints
        cdef int *operand = lowered.operands.data.as_ints
        cdef Py_ssize_t most = len(lowered.operands) + 4
        cdef PyObject **value = <PyObject **> calloc(base + nodes + most, sizeof(PyObject *))
        cdef double *numbers = <double *> malloc((len(self.numbers) + 2 * most) * sizeof(double))
        cdef double *x = numbers + len(self.numbers)
        cdef PyObject **parent = value + base + nodes
        cdef Value out
        try:
            if value == NULL or numbers == NULL:
                raise MemoryError(f"compile: no memory for {nodes} nodes")
            self.fill(x, leaves)
            for i in range(base):
                value[i] = <PyObject *> linked[i]
            for i in range(nodes):
                count = first[i + 1] - first[i]
                for k in range(count):
                    at = operand[first[i] + k]
                    if at >= 0:
                        x[k] = (<Value> value[at]).y
                        parent[k] = value[at] if lowered.linked.data.as_chars[i] else NULL
                    else:
                        x[k], parent[k] = x[at], NULL
                if op[i] >= 0:
                    out = table_node(op[i], x, parent)
                elif op[i] == MGX_LEAF:
                    out = leaf(x[0])
                else:
                    out = sum_node(op[i], x, parent, x + most, count)
                Py_INCREF(out)
                value[base + i] = <PyObject *> out
            return self.results(leaves, x, value, None)
        finally:
            for i in range(nodes if value != NULL else 0):
                Py_XDECREF(value[base + i])
            free(value)
            free(numbers)

    cdef object results(self, list leaves, const double *y, PyObject **value, Value root):
        """What the function returned, in its containers; a node is the ``root``, or stands in ``value``."""
        cdef list values = []
        for kind, what in self.outputs:
            if kind == NODE:
                values.append(root if root is not None else <object> value[<Py_ssize_t> what])
            elif kind == GIVEN:
                values.append(leaves[what])
            else:
                values.append(y[~<Py_ssize_t> what] if kind == NUMBER else what)
        self.replays += 1
        return values[0] if self.tree is None else unflatten(self.tree, iter(values))


cdef tuple random_states():
    """Of the generators that all share: Python's, NumPy's, ours."""
    cdef object own = sys.modules.get("microgradx.random")
    cdef object legacy = sys.modules.get("numpy.random")
    return (random.getstate(), None if legacy is None else repr(legacy.get_state(legacy=False)),
            None if own is None else repr(own.generator().get_state()))


def observe(function, args, kwargs):
    """The result of a call, and whether it has made a Value; None for that if it cannot be told, because another call
    is under way."""
    cdef Recording recording = Recording()
    if not begin_recording():
        return function(*args, **kwargs), None
    before = start_tracing("compile", recording)
    try:
        return function(*args, **kwargs), len(recording.values) > 0 or recording.reason is not None
    finally:
        stop_tracing(before)
        end_recording()


def is_observing():
    """Whether this thread traces or records a function of Values: what it calls is a part of that."""
    return tracing()


cdef class compile_values:
    """A function of Values and numbers, replayed without Python.

    The first call with arguments of some kind runs as it is; if there are floats among the arguments the second one
    does, too, and it is seen what becomes of them. Later ones make the same nodes again, from the numbers that
    arguments and parameters have then. Floats move; other numbers, strings and flags count by value, other objects by
    identity.

    A function that reads or writes ``data`` or ``grad``, calls ``backward``, draws random numbers, changes what it can
    reach, or reaches what cannot be compared, runs as it is at every call; ``explain()`` says why. With ``check`` each
    replay is followed by the call as it is; ``CaptureError`` names a result that differs.

    >>> from microgradx import Value
    >>> from microgradx._core.scalar.replay import compile_values
    >>> w = Value(3.0)
    >>> f = compile_values(lambda x: (w * x + 1.0).relu())
    >>> [f(x).data for x in (1.0, 2.0, 3.0)]
    [4.0, 7.0, 10.0]
    >>> y = f(2.0)
    >>> y.backward()
    >>> y.data, w.grad
    (7.0, 2.0)
    """
    cdef readonly object function
    cdef list calls                                 # the recorded ones, the one that was used last first
    cdef set fixed                                  # arguments whose numbers have decided something
    cdef readonly str reason                        # why all calls run as they are, or None
    cdef object made                                # whether the last call that was recorded has made a Value
    cdef readonly Py_ssize_t eager                  # how many did so
    cdef bint check

    def __init__(self, function, check=False):
        self.function, self.check, self.calls, self.fixed = function, check, [], set()

    def call_first(self, args, kwargs, structure, leaves):
        """The result of a call as it is, and whether it has made a Value; None for that if it cannot be told, because
        another call is under way."""
        self.made = None
        return self.record(None, structure, leaves, args, kwargs), self.made

    def __call__(self, *args, **kwargs):
        cdef RecordedCall call
        cdef Py_ssize_t k
        cdef list leaves = []
        if tracing():                               # within another function that is traced: part of it
            return self.function(*args, **kwargs)
        if self.reason is None:
            if self.calls:                          # the last one over again?
                call = <RecordedCall> self.calls[0]
                if call.complete and take_apart(call.structure, (args, kwargs), leaves) and call.match(None, leaves):
                    return self.replay(call, leaves, args, kwargs)
            leaves, structure = flatten((args, kwargs), True)
            for k in range(len(self.calls)):
                call = self.calls[k]
                if call.match(structure, leaves):
                    if k:
                        self.calls.insert(0, self.calls.pop(k))
                    if call.complete:
                        return self.replay(call, leaves, args, kwargs)
                    return self.record(call, structure, leaves, args, kwargs)
            return self.record(None, structure, leaves, args, kwargs)
        self.eager += 1
        return self.function(*args, **kwargs)

    cdef object replay(self, RecordedCall call, list leaves, object args, object kwargs):
        replayed = call.replay(leaves)
        if not self.check:
            return replayed
        result = self.function(*args, **kwargs)
        (theirs, structure), (ours, expected) = flatten(replayed, True), flatten(result, True)
        if structure != expected:
            raise CaptureError("compile: a replay returns a result of another structure than the call as it is; "
                               + ADVICE)
        for a, b in zip(theirs, ours):
            if type(a) is not type(b) or repr(a) != repr(b):
                raise CaptureError(f"compile: a result is {a} in a replay and {b} in the call as it is; " + ADVICE)
        return result

    cdef object record(self, RecordedCall call, object structure, list leaves, object args, object kwargs):
        """A call as it is, which is recorded: the first one with these arguments as it is given, the second one with
        floats that move."""
        cdef Recording recording = Recording()
        cdef Numbers numbers = Numbers()
        cdef array.array ops = None
        cdef list passed = leaves
        cdef str reason
        cdef bint first = call is None
        if not begin_recording():
            return self.function(*args, **kwargs)
        try:
            if first:
                call = RecordedCall()
                call.describe(self.function, structure, leaves, self.fixed)
            else:
                ops = call.lowered.ops
                passed = [moving_float(numbers, o, frozenset((i,))) if form[0] == MOVES else o
                          for i, (o, form) in enumerate(zip(leaves, call.forms))]
                args, kwargs = unflatten(structure, iter(passed))
            moved = random_states()
            before = start_tracing("compile", recording)
            try:
                result = self.function(*args, **kwargs)
            finally:
                stop_tracing(before)
            self.made = len(recording.values) > 0 or recording.reason is not None
            now, after = flatten((args, kwargs), True)
            reason = recording.reason or call.environment.reason
            if after != structure or any([a is not b for a, b in zip(now, passed)]):
                reason = reason or "the function changes a list, dict or object among its arguments"
            if not call.environment.unchanged():
                reason = reason or "the function changes what it can reach"
            if random_states() != moved:
                reason = reason or "random numbers are drawn"
            if call.graph != grad_enabled():
                reason = reason or "the function leaves grad mode switched"
            if reason is None:
                reason = call.keep_nodes(recording, numbers, result, leaves, passed, (args, kwargs))
            if reason is None and ops is not None and call.lowered.ops != ops:
                reason = "it did not do the same for the same arguments"
            self.fixed |= numbers.read
            if reason is not None:
                self.reason, self.eager = reason, self.eager + 1
                self.calls.clear()
                if not first and ops is not None and reason.startswith("it did not"):
                    raise CaptureError(f"compile: {getattr(self.function, '__name__', 'the function')} does not do the "
                                       "same with a float that moves as with the float; from now on calls run as they "
                                       "are")
            elif first:
                call.complete = all([form[0] != MOVES for form in call.forms])
                self.calls = [call, *self.calls[:SIZE - 1]]
            else:
                call.complete = True
            if first:
                return result
            found, tree = flatten(result, True)
            if any([isinstance(o, Moving) for o in found]):
                result = unflatten(tree, iter([given_of(o) for o in found]))
            return result
        finally:
            end_recording()

    def explain(self):
        """What was recorded, and why calls ran as they are, as text."""
        cdef RecordedCall call
        if self.reason is not None:
            return f"ran as it is, {self.eager} times: {self.reason}"
        recorded = [f"a function of Values: {len(call.lowered.ops)} nodes from {len(call.parameters)} parameters, "
                    f"{call.replays} replays" for call in self.calls if call.complete]
        return "\n".join(recorded) or "not recorded yet"
