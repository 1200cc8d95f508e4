"""What ``mgx.compile`` returns: a function that knows which of its captured calls can stand for a call."""
from microgradx._core.array cimport Array, Storage, capture, default_float, from_object, shape_of
from microgradx._core.debug.check cimport checked
from microgradx._core.graph cimport grad_enabled, recording_sites
from microgradx._core.launch cimport is_capturing, world_version
from microgradx._core.capture.unreachable cimport unreachable_without
from microgradx._core.capture.captured cimport CapturedCall
from microgradx._core.capture.environment cimport Environment
from microgradx._core.capture.originals cimport give_back
from microgradx._core.capture.program cimport is_parameter, may_be_symbolic
from microgradx._core.trees cimport containers_of, take_apart

import copy
import enum
import inspect
import types
import warnings
import weakref
from functools import partial

import numpy as np

from microgradx._core.capture.captured import MEMORY, NOT_CAPTURED, as_given, why_not_captured
from microgradx._core.generator import Generator
from microgradx._core.scalar.replay import compile_values, is_observing, observe
from microgradx._core.trees import flatten, unflatten
from microgradx._core.value import Value
from microgradx.errors import CompileWarning

cdef enum:
    WASTED = 5                  # captures in a row that were not replayed: then calls run as they are for a while
    PAUSE = 16
cdef tuple BY_IDENTITY = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type,
                          Generator, np.random.Generator, np.ufunc)


cdef class Compiled:
    """A function whose calls are captured and replayed."""
    cdef readonly object function
    cdef list calls             # the captured ones, the one that was used last first
    cdef dict seen              # {key: did it write to an argument?} of calls that ran once as they are
    cdef readonly dict reasons  # {why a call ran as it is: how often}
    cdef readonly set passes
    cdef set fixed              # arguments whose numbers have decided something: another one is another call
    cdef readonly object shared  # if calls are checked: gives the generator of random numbers that all share
    cdef object values          # the same function as a program of Values
    cdef object deferred        # why no call is ever captured, or None
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t pause, pauses, world
    cdef Environment paused     # what the function could reach when a call last ran as it is in a pause
    cdef object previous        # the key of that call
    cdef Py_ssize_t wasted      # captures in a row without a replay
    cdef Py_ssize_t replays_before      # how many replays there had been at the last capture
    cdef Py_ssize_t replays_dropped     # ... of calls that are kept no more
    cdef bint last_held         # did what the last captured call depends on hold when it ended?
    cdef object latest          # the key of the last call whose key was new
    cdef Py_ssize_t unseen      # such calls in a row
    cdef Py_ssize_t replayed    # how many replays there had been by then
    cdef CapturedCall last      # that was replayed, if calls are not checked
    cdef dict __dict__
    cdef object __weakref__

    def __init__(self, function, passes, shared=None, size=16):
        self.function, self.passes, self.shared, self.size = function, set(passes), shared, size
        self.calls, self.seen, self.fixed, self.reasons = [], {}, set(), {}
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            self.deferred = "an async function"
        elif inspect.isgeneratorfunction(function):
            self.deferred = "a generator function"

    def __get__(self, instance, owner):
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self):
        return Compiled, (self.function, self.passes, self.shared, self.size)

    def __deepcopy__(self, memo):
        return Compiled(copy.deepcopy(self.function, memo), self.passes, self.shared, self.size)

    def __call__(self, *args, **kwargs):
        cdef CapturedCall call = self.last
        cdef object leaves = args
        if call is not None and not recording_sites and not is_capturing():
            if not call.flat or kwargs:
                leaves = []
                if not take_apart(call.structure, (args, kwargs), leaves):
                    leaves = None
            if leaves is not None and call.match(call.structure, leaves) and call.holds(leaves) and not call.busy:
                return call.replay(leaves)
        return self.dispatch(args, kwargs)

    cdef object dispatch(self, tuple args, dict kwargs):
        """A call that is not the last one over again."""
        cdef str reason = self.deferred
        if reason is not None:
            return self.run_eagerly(args, kwargs, reason)
        if is_observing():                          # within a function of Values that is recorded: part of it
            return self.function(*args, **kwargs)
        try:
            found, structure = flatten((args, kwargs), True)
        except RecursionError:
            return self.run_eagerly(args, kwargs, "an argument that is nested without end, or too deeply")
        if self.values is None and any([type(leaf) is Value for leaf in found]):
            self.values = compile_values(self.function, self.shared is not None)
        if self.values is not None and not any([isinstance(leaf, Array) for leaf in found]):
            return self.values(*args, **kwargs)
        leaves = [leaf_of(leaf) for leaf in found]
        if all([a is b for a, b in zip(found, leaves)]):
            return self.choose(args, kwargs, structure, leaves)
        tensors = unflatten(structure, iter(leaves))
        given = {id(leaf): o for leaf, o in zip(leaves, found)}
        containers, copies = containers_of((args, kwargs)), containers_of(tensors)
        try:
            return self.choose(tensors[0], tensors[1], structure, leaves)
        finally:
            give_back(containers, copies, partial(as_given, given, {}))

    cdef object choose(self, tuple args, dict kwargs, object structure, list leaves):
        """Replay a captured call, capture one, or run the function as it is."""
        cdef CapturedCall call, moved = None
        cdef Environment environment
        cdef str reason
        if recording_sites or capture:              # within a capture its launches are written; of another thread: wait
            return self.run_eagerly(args, kwargs, "detect_nan is on" if recording_sites else None)
        for leaf in leaves:
            if not is_captured_by_value(leaf):
                return self.run_eagerly(args, kwargs, f"an argument of type {type(leaf).__name__}, of which it cannot "
                                                      "be told whether it has changed")
        for call in self.calls:
            if call.match(structure, leaves):
                if call.holds(leaves):
                    if call.may_settle() and call.is_still():
                        moved = call
                        break
                    if call.as_it_is is not None:
                        return self.run_as_it_is(call, args, kwargs)
                    if call.busy:
                        return self.run_eagerly(args, kwargs, "a call while the same one was running")
                    self.use(call)
                    if self.shared is not None:
                        return checked(call, tuple(leaves), lambda: self.function(*args, **kwargs), self.shared())
                    return call.replay(leaves)
                if call.failed == MEMORY:
                    return self.run_eagerly(args, kwargs, MEMORY)
        key = self.key(structure, leaves)
        if key not in self.seen:                                    # once as it is: what is made lazily comes to be
            self.count_unseen(key)
            while len(self.seen) >= 4 * self.size:
                self.seen.pop(next(iter(self.seen)))
            values, versions = None, [(<Array> leaf).storage.version for leaf in leaves if isinstance(leaf, Array)]
            if versions:
                result, makes_values = observe(self.function, args, kwargs)
            else:
                values = compile_values(self.function, self.shared is not None)
                result, makes_values = values.call_first(args, kwargs, structure, leaves)
            if makes_values:                        # a function of Values, whatever its arguments are
                self.values = values or compile_values(self.function, self.shared is not None)
            elif makes_values is not None:
                self.seen[key] = why_not_captured(result) or versions != [
                    (<Array> leaf).storage.version for leaf in leaves if isinstance(leaf, Array)]
            return result
        reason = self.seen[key] if isinstance(self.seen[key], str) else None
        if reason is not None:
            self.count(reason, True)
            return self.function(*args, **kwargs)
        if self.seen[key] and may_share_memory(leaves):             # a capture works on copies of them
            return self.run_eagerly(args, kwargs, MEMORY)
        if self.pause and not self.is_still(key, leaves):
            self.pause -= 1
            result = self.run_eagerly(args, kwargs, "captures that were not replayed")
            self.world = world_version
            return result
        self.last = self.paused = None
        if self.count_replays() != self.replays_before:
            self.wasted = 0
        if self.wasted >= WASTED:
            self.warn()
        if moved is not None:
            self.drop(moved)
        self.drop_lost()
        self.replays_before = self.count_replays()
        environment = self.environment_of(leaves)
        if environment.reason is not None:
            self.seen[key] = environment.reason
            self.count(environment.reason, True)
            return self.function(*args, **kwargs)
        if any([isinstance(o, Array) and not is_parameter(<Array> o) and environment.shares_memory(<Array> o)
                for o in leaves]):
            return self.run_eagerly(args, kwargs, MEMORY)
        call = CapturedCall()
        result = call.capture(self.function, environment, (args, kwargs), structure, leaves, self.passes, self.fixed)
        if result is NOT_CAPTURED:                                  # another thread has begun one meanwhile
            return self.run_eagerly(args, kwargs, None)
        self.fixed |= call.read                                     # it is for these numbers only
        self.use(call)
        self.last_held = call.world >= 0
        if call.as_it_is is None:
            self.wasted += 1
            return result
        self.wasted, call.moves = 0, moved is not None
        if call.moves or not call.may_settle():     # else it may be a cache that was filled: the next call will tell
            self.count(call.as_it_is, True)
        return result

    cdef object run_as_it_is(self, CapturedCall call, tuple args, dict kwargs):
        cdef bint was_still
        if not call.may_settle():
            return self.run_eagerly(args, kwargs, call.as_it_is)
        was_still = call.moves
        try:
            return self.run_eagerly(args, kwargs, call.as_it_is)
        finally:
            call.moves = call.renew() and was_still

    cdef Environment environment_of(self, list leaves):
        return Environment([self.function, *[o for o in leaves if not isinstance(o, (Array, float, str))]])

    cdef bint is_still(self, tuple key, list leaves) except -1:
        """In a pause: is everything as it was at the call before, which was such a one?"""
        cdef bint still = self.last_held and self.world == world_version
        if self.paused is None or key != self.previous:
            self.paused, self.previous, still = self.environment_of(leaves), key, False
        return not self.paused.renew() and still

    cdef Py_ssize_t count_replays(self) except -1:
        return self.replays_dropped + sum([(<CapturedCall> call).replays for call in self.calls])

    cdef int drop(self, CapturedCall call) except -1:
        self.calls = [other for other in self.calls if other is not call]
        self.replays_dropped += call.replays
        return 0

    cdef int drop_lost(self) except -1:
        """Drop captured calls that cannot be replayed any more: what they depend on was replaced, and nobody else has
        it."""
        cdef CapturedCall call
        cdef set unreachable
        cdef dict holds = {}
        if self.calls:
            unreachable = unreachable_without(self.calls)
            for call in self.calls:
                call.count_holds(holds)
            for call in self.calls:
                if call.is_lost(unreachable, holds):
                    self.drop(call)
        return 0

    cdef int count(self, str reason, bint warn) except -1:
        """A call runs as it is; ``warn``: the first time."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if warn and self.reasons[reason] == 1:
            warnings.warn(f"compile: {getattr(self.function, '__name__', self.function)} runs as it is, because "
                          f"{reason}", CompileWarning, stacklevel=1)
        return 0

    cdef int count_unseen(self, tuple key) except -1:
        """A call with arguments that no call had before; if all are such, none is ever captured."""
        cdef Py_ssize_t i, replayed = self.count_replays()
        cdef object latest = self.latest
        self.unseen = self.unseen + 1 if replayed == self.replayed else 1
        self.replayed, self.latest = replayed, key
        if self.unseen < max(self.size, WASTED) or latest is None or latest[1] != key[1]:
            return 0
        for i in range(3, len(key)):
            if key[i] != latest[i]:
                advice = "a leaf that requires a gradient is taken for a parameter: make it one inside" \
                    if is_leaf_key(key[i]) else "what is only computed with may be a float, anything else a tensor"
                self.count(f"argument {i - 3} is another one at each call; {advice}", True)
                break
        return 0

    cdef int use(self, CapturedCall call) except -1:
        """Put a captured call first; the one that was not used for longest goes."""
        if not self.calls or self.calls[0] is not call:
            self.calls = [call, *[other for other in self.calls if other is not call]]
            if len(self.calls) > self.size:
                self.drop(self.calls[self.size])
        self.last = call if self.shared is None and call.as_it_is is None else None
        return 0

    cdef int warn(self) except -1:
        if self.pauses == 0:
            why = (<CapturedCall> self.calls[0]).failed if self.calls else None
            why = why or "its arguments"
            warnings.warn(f"compile: {getattr(self.function, '__name__', self.function)} was captured {WASTED} times "
                          f"in a row without a replay, because this changed: {why}. Calls run as they are for a "
                          "while; explain() tells more", CompileWarning, stacklevel=1)
        self.pause = PAUSE << min(self.pauses, 6)
        self.pauses += 1
        return 0

    cdef object key(self, object structure, list leaves):
        """What calls have in common that one capture may be for."""
        objects = [id(leaf) for leaf in leaves if isinstance(leaf, Array)]
        return ((grad_enabled(), default_float), structure, tuple([objects.index(o) for o in objects]),
                *[type(leaf) if may_be_symbolic(leaf) and i not in self.fixed else key_of(leaf)
                  for i, leaf in enumerate(leaves)])

    cdef object run_eagerly(self, tuple args, dict kwargs, str reason):
        if reason is not None:
            self.count(reason, False)
        return self.function(*args, **kwargs)

    def explain(self):
        """What was captured, as text: for every captured call a table of launches, and what it depends on; and why
        calls ran as they are."""
        cdef list parts = [call.explain() for call in self.calls]
        parts += [f"ran as it is, {count} times: {reason}" for reason, count in self.reasons.items()]
        if self.values is not None:
            parts.append(self.values.explain())
        return "\n\n".join(parts) or "not captured yet: the second call is"

    @property
    def programs(self):
        """The programs captured so far."""
        return [(<CapturedCall> call).forward for call in self.calls if (<CapturedCall> call).as_it_is is None]


cdef object leaf_of(object leaf):
    """Arrays of numbers become tensors."""
    return from_object(leaf, None, False) if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf" else leaf


cdef bint may_share_memory(list leaves) except -1:
    """Does a tensor among the arguments share memory with another, or with one that somebody else holds?"""
    cdef list arrays = list({id(leaf): leaf for leaf in leaves if isinstance(leaf, Array)}.values())
    cdef Storage *s
    cdef Storage *t
    for a in arrays:
        s = (<Array> a).storage
        if s.refs > sum([(<Array> b).storage == s for b in arrays]):
            return True
        for b in arrays:
            t = (<Array> b).storage
            if a is not b and s.data < t.data + t.nbytes and t.data < s.data + s.nbytes:
                return True
    return False


cdef bint is_captured_by_value(object leaf) except -1:
    """Can it be told at the next call whether the argument is the same? Tensors, numbers, strings, and what defines
    equality and a hash; functions, classes, modules and optimizers, which are noted while they are used."""
    kind = type(leaf)
    return (leaf is None or isinstance(leaf, (Array, bool, int, float, complex, str, bytes, np.generic, np.dtype,
                                              enum.Enum, frozenset, slice, range)) or isinstance(leaf, BY_IDENTITY)
            or hasattr(kind, "_is_noted") or kind.__eq__ is not object.__eq__ and kind.__hash__ is not None)


cdef bint is_leaf_key(object key) except -1:
    """Of an argument that is a parameter: see `key_of`."""
    return isinstance(key, tuple) and len(key) == 4 and type(key[3]) is int


cdef object key_of(object leaf):
    if isinstance(leaf, Array):
        return ((<Array> leaf).dtype_, shape_of(leaf), leaf.strides if not (<Array> leaf).contiguous else None,
                id(leaf) if is_parameter(<Array> leaf) else (<Array> leaf).needs_grad)
    if isinstance(leaf, (float, complex, np.generic)):              # -0.0 == 0.0, but they are not the same
        return type(leaf), repr(leaf)
    if isinstance(leaf, slice):                                     # without a hash before Python 3.12
        return leaf.__reduce__()
    try:
        hash(leaf)
        if type(leaf).__eq__ is object.__eq__:                      # by identity: it need not be kept for that
            return type(leaf), weakref.ref(leaf)
    except TypeError:                                               # no hash, or no weak references
        return type(leaf), id(leaf) if type(leaf).__hash__ is None else leaf
    return type(leaf), leaf
