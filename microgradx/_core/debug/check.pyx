"""Does a replay do what the function does? Both run from the same state, and are compared to the last bit."""
from microgradx._core.array cimport Array, Node, Storage, dtype_of
from microgradx._core.launch cimport HOST, Launch, copy, launch_name, restore, snapshot
from microgradx._core.capture.captured cimport CapturedCall, Effect, Found
from microgradx._core.capture.guards cimport Guard
from microgradx._core.capture.program cimport Program, is_parameter, plain_copy

import numpy as np

from microgradx._core.capture.explain import ADVICE
from microgradx._core.capture.environment import MISSING
from microgradx._core.launch import change_world
from microgradx.errors import CaptureError


cdef object checked(CapturedCall call, tuple arguments, object run_eagerly, object shared):
    """The result of ``run_eagerly()``, the call as it is, if a replay of ``program`` gives it and leaves the same
    behind. ``shared``: the generator of random numbers that all share."""
    cdef Program program = call.forward
    cdef list given = [None if not isinstance(o, Array) or is_parameter(o) else plain_copy(o) for o in arguments]
    cdef list nodes = leaves_of(call)
    cdef list gradients = [(node, (<Node> node).grad, None if (<Node> node).grad is None
                            else plain_copy((<Node> node).grad)) for node in nodes]
    cdef list drawn = [(g, g.bit_generator.state) for g in {id(g): g for g in generators(program)}.values()]
    cdef object state = shared.get_state()
    cdef list attributes = [(owner, name, owner.get(name, MISSING)) for owner, name in effects_on(call, dict)]
    cdef list modes = [(a, (<Array> a).needs_grad) for a, _ in effects_on(call, Array)]
    cdef dict found = storages(call)
    cdef list before = [(address, snapshot(<Storage *> <size_t> address)) for address in found]
    cdef size_t address
    result = call.replay(arguments)
    replayed = [*leaves("the result", result), *left(call, arguments, found)]
    for address, numbers in before:
        restore(<Storage *> address, numbers)
        (<Storage *> address).version += 1
    for node, grad, numbers in gradients:
        (<Node> node).grad = grad
        if grad is not None:
            copy(numbers, grad)
    for owner, name, value in attributes:
        if value is MISSING:
            owner.pop(name, None)
        else:
            owner[name] = value
    for a, wants in modes:
        a.requires_grad_(wants)
    change_world()
    for o, kept in zip(arguments, given):
        if kept is not None and not same(numbers_of(o), numbers_of(kept)):
            copy(kept, o)
    for g, numbers in drawn:
        g.bit_generator.state = numbers
    shared.set_state(state)
    result = run_eagerly()
    expected = [*leaves("the result", result), *left(call, arguments, found)]
    if [name for name, _ in replayed] != [name for name, _ in expected]:
        raise CaptureError("compile: a replay returns a result of another structure than the call as it is; " + ADVICE)
    for (name, theirs), (_, ours) in zip(replayed, expected):
        if not same(theirs, ours):
            raise CaptureError(f"compile: {name} is not the same in a replay and in the call as it is"
                               f"{difference(theirs, ours)}; " + ADVICE)
    return result


cdef list leaves_of(CapturedCall call):
    """The leaves whose gradients the call reads or changes."""
    cdef Found one
    cdef dict nodes = {id(one.node): one.node for one in call.found}
    nodes.update({id(node): node for node, _ in effects_on(call, Node)})
    return list(nodes.values())


cdef list effects_on(CapturedCall call, kind):
    """[(target, name)] of the effects on leaves (Node), attributes and options (dict) or ``requires_grad`` (Array)."""
    cdef Effect effect
    return [(effect.target, effect.name) for effect in call.effects if isinstance(effect.target, kind)]


cdef list owners_of(CapturedCall call):
    """The modules that the call looked at."""
    cdef Guard guard
    return list({id(guard.owner): guard.owner for guard in call.guards
                 if hasattr(guard.owner, "named_parameters")}.values())


cdef dict storages(CapturedCall call):
    """{address: (name, dtype)} of what the call writes that was there before it."""
    cdef Program program = call.forward
    cdef Py_ssize_t i
    cdef int k
    cdef Launch *s
    cdef Array a
    cdef dict found = {}, known = {}
    cdef set own = {<size_t> (<Array> x).storage for x in [program.memory, *call.expected] if isinstance(x, Array)}
    cdef set moving = {<size_t> program.binding[i].storage for i in range(program.binding_count)}
    for module in owners_of(call):
        for name, p in [*module.named_parameters(), *module.named_buffers()]:
            known.setdefault(<size_t> (<Array> p).storage, name)
    for i in range(program.sequence.count):
        s = program.sequence.launch[i]
        if s.table == HOST:
            for o in (<tuple> s.host)[1]:
                a = o
                found[<size_t> a.storage] = known.get(<size_t> a.storage, f"what launch {i} writes"), dtype_of(a.dtype_)
        for k in range(s.count):
            if s.writes >> k & 1 and program.holds(s.storage[k]):
                found[<size_t> s.storage[k]] = \
                    known.get(<size_t> s.storage[k], f"what launch {i}, {launch_name(s)}, writes"), dtype_of(s.dtype)
    return {address: what for address, what in found.items() if address not in own and address not in moving}


cdef list left(CapturedCall call, tuple arguments, dict found):
    """[(name, numbers)] of arguments, gradients and all else that a call leaves behind in what was there before."""
    cdef list named = [(f"argument {k}", numbers_of(o)) for k, o in enumerate(arguments) if isinstance(o, Array)]
    cdef Storage *s
    cdef dict names = {}
    for module in owners_of(call):
        for name, p in module.named_parameters():
            names.setdefault((<Array> p).node, name)
    for node in leaves_of(call):
        grad = (<Node> node).grad
        named.append((f"the gradient of {names.get(node, 'a leaf')}", None if grad is None else numbers_of(grad)))
    for address, (name, dtype) in found.items():
        s = <Storage *> <size_t> address
        if s.born != call.forward.number:
            numbers = snapshot(s)
            named.append((name, np.frombuffer(numbers, dtype) if isinstance(numbers, bytes) else numbers))
    return named


cdef list leaves(str name, object tree):
    """[(name, numbers)] of a result."""
    if isinstance(tree, dict):
        return [leaf for key, part in tree.items() for leaf in leaves(f"{name}[{key!r}]", part)]
    if isinstance(tree, (list, tuple)):
        return [leaf for k, part in enumerate(tree) for leaf in leaves(f"{name}[{k}]", part)]
    return [(name, numbers_of(tree) if isinstance(tree, Array) else tree)]


cdef object numbers_of(Array a):
    return np.array(plain_copy(a))


cdef bint same(object a, object b) except -1:
    """Equal to the last bit; one nan is as good as another."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return a is b or type(a) is type(b) and repr(a) == repr(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tobytes() == b.tobytes() or not different(a, b).any()


cdef object different(object a, object b):
    equal = a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}")
    return ~(equal | (a != a) & (b != b))


cdef str difference(object a, object b):
    """By how much, in words."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return f": {a!r:.60} and {b!r:.60}"
    if a.dtype != b.dtype or a.shape != b.shape:
        return f": {a.dtype} of shape {a.shape} and {b.dtype} of shape {b.shape}"
    with np.errstate(all="ignore"):
        most = np.abs(a.astype("float64") - b.astype("float64")).max()
    return f": {different(a, b).sum()} of {a.size} numbers differ, by at most {most:.3g}"


cdef list generators(Program program):
    """NumPy's generators that the functions of host launches hold."""
    cdef list found = [], stack = [function for function, *_ in program.sequence.hosts]
    cdef set met = set()
    while stack:
        o = stack.pop()
        if id(o) in met:
            continue
        met.add(id(o))
        if isinstance(o, np.random.Generator):
            found.append(o)
        stack += [cell.cell_contents for cell in getattr(o, "__closure__", None) or ()]
        stack += getattr(o, "__defaults__", None) or ()
        stack.append(getattr(o, "__self__", None))
    return found
