"""The one door through which every kernel runs.

A launch is data: a row of a table (csrc/ops.def for elementwise operations, csrc/kernels.def for structured ones), the
part of it that runs, a dtype, and operands, integers and numbers in the order of the row. An eager call runs it at
once; while this thread records, a ``Launch`` is recorded as well, from which it can be run again, printed, compared
and timed. Nothing writes an array without passing here. An operation that has no C kernel is a host launch: a Python
function over NumPy arrays.
"""
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from microgradx._core cimport array
from microgradx._core.array cimport (OP_LEAF, Array, Node, Storage, check_ndim, check_writable, detached, dtype_code,
                                     dtype_of, empty, from_object, itemsize, name_storage, shape_of, bump_version,
                                     unref, readable_ndarray, writable_ndarray)
from microgradx._core.graph cimport (add_observer, free_collector, call_site, hold_collector, observers,
                                     recording_sites, watching)
from microgradx._core.kernels cimport *
from microgradx._core.debug.watch cimport raise_non_finite, is_finite, is_reported, is_clean

import numpy as np

from microgradx._core import hooks
from microgradx.errors import DTypeError, ShapeError


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define PER_THREAD(type) static __declspec(thread) type
    #else
    #define PER_THREAD(type) static __thread __attribute__((tls_model("initial-exec"))) type
    #endif
    PER_THREAD(PyObject *) mgx_recording_list = 0;
    PER_THREAD(PyObject *) mgx_reads = 0;
    PER_THREAD(int) mgx_yields = 0;
    #include <time.h>
    static double mgx_now(void) { struct timespec t; timespec_get(&t, TIME_UTC); return t.tv_sec + 1e-9 * t.tv_nsec; }
    static int mgx_raise_pending(void) { return -1; }
    static void mgx_yield(void) {           /* a thread that waits needs a moment to take the GIL */
        int others = PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) != NULL;
        PyThreadState *here = PyEval_SaveThread();
    #if !defined(_WIN32)
        struct timespec moment = {0, 100000};
        if (others)
            nanosleep(&moment, NULL);
    #else
        (void) others;
    #endif
        PyEval_RestoreThread(here);
    }
    """
    PyObject *mgx_recording_list
    PyObject *mgx_reads         # {address of a storage: an array over it}, or NULL
    int mgx_yields              # are the operands of the launch that runs held, so that other threads may run?
    double mgx_now() noexcept nogil
    int mgx_raise_pending() except -1
    void mgx_yield()


# ----- recordings: the launches of a thread ---------------------------------------------------------------------

cdef class LaunchList:
    def __cinit__(self):
        self.hosts, self.constants, self.leaves, self.sites, self.names = [], [], {}, [None], []
        self.read_gradients, self.outside, self.reads, self.writes, self.draws = {}, {}, {}, {}, []
        self.site_numbers, self.arguments = {}, {}

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.launch[i] != NULL:
                free(self.launch[i].tiles)
                free(self.launch[i])
        free(self.launch)
        free(self.event)

    cdef Launch *add(self) except NULL:
        """A new launch at the end."""
        cdef void *larger
        cdef Launch *one
        if self.count == self.room:
            larger = realloc(self.launch, (2 * self.room + 64) * sizeof(Launch *))
            if larger == NULL:
                raise MemoryError("compile: no memory for another launch")
            self.launch, self.room = <Launch **> larger, 2 * self.room + 64
        one = <Launch *> malloc(sizeof(Launch))
        if one == NULL:
            raise MemoryError("compile: no memory for another launch")
        one.kernel, one.loop, one.tiles, one.host, one.writes = NULL, NULL, NULL, NULL, 0
        self.launch[self.count] = one
        self.count += 1
        one.site = self.site_number(None)
        if recording_sites:
            self.as_it_is = "detect_nan is on inside"
        return one

    cdef uint32_t site_number(self, object site) except? 0:
        """The number of a line, (code, offset); None: of the line of the caller's code that runs now."""
        if site is None:
            site = call_site()
        cdef object number = self.site_numbers.get(site)
        if number is None:
            number = self.site_numbers[site] = len(self.sites)
            self.sites.append(site)
        return number


cdef LaunchList set_recording(LaunchList recording):
    """Launches of this thread are recorded there from now on; None: nowhere. Returns what it was."""
    global mgx_recording_list
    cdef PyObject *before = mgx_recording_list
    if recording is not None:
        Py_INCREF(recording)
        mgx_recording_list = <PyObject *> recording
    else:
        mgx_recording_list = NULL
    if before == NULL:
        return None
    result = <LaunchList> before
    Py_XDECREF(before)
    return result


cdef bint is_capturing() noexcept:
    """Does this thread write launches down, to run them again?"""
    return mgx_recording_list != NULL and not (<LaunchList> mgx_recording_list).timed


cdef LaunchList profiling():
    if mgx_recording_list == NULL or not (<LaunchList> mgx_recording_list).timed:
        return None
    return <LaunchList> mgx_recording_list


def capturing():
    """Is this thread writing down its launches? Then nothing may be decided by numbers."""
    return is_capturing()


cdef double now() noexcept nogil:
    return mgx_now()


cdef str format_call_site():
    """The line of the caller's code, for messages."""
    code, last = call_site()
    line = next((n for start, stop, n in code.co_lines() if start <= last < stop), code.co_firstlineno)
    return f" at {code.co_filename}:{line}"


cdef LaunchList capturing_list():
    return <LaunchList> mgx_recording_list if is_capturing() else None


cpdef int note_as_it_is(str why) except -1:
    """The call under capture does what a replay would not repeat, and is right as it runs: so will each call be."""
    cdef LaunchList recording = capturing_list()
    if recording is not None and recording.as_it_is is None:
        recording.as_it_is = why
    return 0


cdef int note_reading() except -1:
    if is_capturing():
        note_as_it_is(f"it reads numbers of a tensor (item, bool, float, numpy, an index made of numbers)"
                      f"{format_call_site()}, which a captured program would freeze; keep the decision in tensors "
                      "(where, maximum), or read the result after the call")
    return 0


array.note_reading = note_reading


# What a captured call may depend on besides its arguments: tensors, gradients, modules, optimizers. The call notes what
# it meets while it is captured; later a write to any such object raises a counter, so that an unchanged world is seen
# by two comparisons, and only after a write are the guards themselves looked at.
cdef Py_ssize_t world_version = 0
cdef Py_ssize_t grad_version = 0


cdef void bump_world(Array a) noexcept:
    """``a`` gets another storage, hook or part in graphs; that matters if a program names its storage."""
    global world_version
    world_version += a.storage.held


cdef void bump_gradients() noexcept:
    global grad_version
    grad_version += 1


def change_world():
    """Something that a captured call may depend on is written to."""
    global world_version
    world_version += 1


hooks.notify = change_world


cdef int note_gradient(Node node, bint read) except -1:
    """A leaf's gradient is about to be read or replaced."""
    cdef LaunchList recording
    if is_capturing():
        recording = <LaunchList> mgx_recording_list
        if node not in recording.leaves:
            recording.leaves[node] = node.grad if read else Ellipsis
            if read:
                recording.read_gradients[node] = None
    return 0


cdef int note_tensor(Array a) except -1:
    cdef LaunchList recording
    if not is_capturing() or a.storage.born == array.capture or a.born == array.capture:
        return 0
    recording = <LaunchList> mgx_recording_list
    if id(a) not in recording.outside:
        recording.outside[id(a)] = (a, <size_t> a.storage, a.needs_grad, hooks_of(a), is_leaf(a))
    return 0


cdef Array as_argument(Array a):
    """Its place in a graph is asked for: ``a``, or the argument that it stands for in a capture, if it is as it was
    given."""
    cdef LaunchList recording = capturing_list()
    if recording is None:
        return a
    if id(a) not in recording.arguments:
        note_tensor(a)
        return a
    recording.asks_arguments = True
    argument, node, needs_grad = recording.arguments[id(a)]
    return argument if a.node is node and a.needs_grad == <bint> needs_grad else a


cdef bint is_leaf(Array a) noexcept:
    """Has no recorded operation made it?"""
    return a.node is None or a.node.v.op == OP_LEAF


array.note_outside = note_tensor


cdef tuple hooks_of(Array a):
    """The hooks of a tensor's gradient."""
    return () if a.node is None or a.node.hooks is None else tuple(a.node.hooks.values())


# ----- what is read: for a function that is to run once more -----------------------------------------------------

cdef dict set_reads(dict reads):
    """What launches of this thread read goes there from now on; None: nowhere. Returns where it went."""
    global mgx_reads
    cdef PyObject *before = mgx_reads
    add_observer((reads is not None) - (before != NULL))
    Py_XINCREF(<PyObject *> reads if reads is not None else NULL)
    mgx_reads = <PyObject *> reads if reads is not None else NULL
    if before == NULL:
        return None
    result = <dict> before
    Py_XDECREF(before)
    return result


cdef int note_array_read(Array a) except -1:
    """What has a graph was made by an operation; what was made without one is sorted out afterwards."""
    if a.needs_grad and a.node is not None and a.node.v.op != array.OP_LEAF or is_capturing():
        return 0
    if mgx_reads != NULL and <size_t> a.storage not in <dict> mgx_reads:
        (<dict> mgx_reads)[<size_t> a.storage] = None           # for `detached` makes a view
        (<dict> mgx_reads)[<size_t> a.storage] = detached(a)
    return 0


cdef int note_operands_read(tuple operands) except -1:
    if mgx_reads != NULL:
        for a in operands:
            if isinstance(a, Array):
                note_array_read(<Array> a)
    return 0


# ----- a launch as data --------------------------------------------------------------------------------------------

cdef mgx_loop loop_of(int row, int part, int dtype) noexcept:
    return kernels.rows[dtype][row].part[part]


cdef Py_ssize_t run_launch(const Launch *l) noexcept nogil:
    """Run it again: MGX_DONE, the first bad index or another code. Host launches are not for this."""
    if l.tiles != NULL:
        return run_tiles(l.tiles, l.args.p)
    if l.loop != NULL:
        return run_loop(l.loop, l.args.n[0], l.dtype, l.count, l.args.p)
    return run_kernel(&kernel_rows[l.row], l.kernel, &l.args)


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept           # the exception stays set for `check_run` to raise
    PyObject *PyErr_Occurred() noexcept


cdef int poll_signals(int alone) noexcept with gil:
    """Called every few milliseconds of a long launch: an exception that a signal raises stops it. The thread that sends
    it may need the GIL for that."""
    if alone and mgx_yields:
        mgx_yield()
    return PyErr_CheckSignals() < 0


set_poll(poll_signals)


cdef int check_run(Py_ssize_t code) except -1:
    """Raise what a code that is neither MGX_DONE nor an index stands for."""
    if code >= MGX_DONE:
        return 0
    if code == MGX_INTERRUPTED:
        if PyErr_Occurred() == NULL:
            raise RuntimeError("a signal handler forked in the middle of a launch, which has ended in the child")
        return mgx_raise_pending()
    if code == MGX_NO_MEMORY:
        raise MemoryError("no memory for the scratch space of a kernel")
    raise RuntimeError("a kernel declined, and BLAS has not been imported")


cdef str host_name(object function):
    return getattr(function, "__name__", type(function).__name__).strip("_")


cdef str launch_name(const Launch *l):
    """What a person reads: the row's name, of a vjp with its number; all rows of what is fused."""
    cdef int k
    if l.table == HOST:
        return f"host {host_name((<tuple> l.host)[0])}"
    if l.table == FUSED:
        return "+".join([l.tiles.op[k].name.decode() for k in range(l.tiles.count)])
    return row_name(l.table, l.row, l.part)


cdef str row_name(int table, int row, int part):
    if table == KERNELS:
        return kernel_rows[row].name.decode()
    return rows[row].name.decode() + (f".vjp{part - MGX_VJP0}" if part >= MGX_VJP0 else "")


cdef int measure_launch(const Launch *l, double *bytes, double *flops) noexcept:
    """The bytes that it reads and writes, each operand once, and its floating-point operations; -1: not known."""
    cdef mgx_measure to
    cdef Py_ssize_t size = itemsize[l.dtype], d, elements
    cdef int k, type
    bytes[0], flops[0] = 0, -1
    if l.table == HOST:
        return 0
    if l.table == KERNELS:
        kernel_rows[l.row].measure(&l.args, &to)
        for k in range(l.count):
            type = to.type[k] if to.type[k] < MGX_OF_LAUNCH else l.dtype
            bytes[0] += <double> to.elements[k] * itemsize[type]
        flops[0] = to.flops
        return 0
    flops[0] = <double> l.args.n[0] * (l.tiles.count if l.table == FUSED else 1)
    for k in range(l.count):
        if l.storage[k] == NULL:
            continue
        elements = l.args.n[0]
        if l.tiles != NULL:
            size = itemsize[l.tiles.operand[k].dtype]
            elements = 1
            for d in range(l.tiles.ndim):
                elements *= l.tiles.shape[d] if l.tiles.operand[k].strides[d] else 1
        bytes[0] += <double> elements * size
    return 0


cdef int note_time(LaunchList recording, const Launch *l, double start, double seconds, object site) except -1:
    """A timed launch is an event of a profile."""
    cdef Event *e
    cdef void *larger
    if recording.events == recording.event_room:
        larger = realloc(recording.event, (2 * recording.event_room + 64) * sizeof(Event))
        if larger == NULL:
            raise MemoryError("profile: no memory for another event")
        recording.event, recording.event_room = <Event *> larger, 2 * recording.event_room + 64
    e = &recording.event[recording.events]
    recording.events += 1
    e.table, e.row, e.part, e.dtype, e.start, e.seconds, e.name = l.table, l.row, l.part, l.dtype, start, seconds, NULL
    if l.table == HOST or l.table == FUSED:
        name = launch_name(l)
        recording.names.append(name)
        e.name = <PyObject *> name
    measure_launch(l, &e.bytes, &e.flops)
    e.site = recording.site_number(site)
    return 0


# ----- structured kernels: rows of csrc/kernels.def -----------------------------------------------------------------

cdef Py_ssize_t launch(Call *call, int row, int dtype) except? -9:
    """Run a row over the operands of ``call``, count the writes, write it down, look for nan: MGX_DONE, or the first
    bad index that the kernel met."""
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef mgx_kernel kernel = kernels.kernel[row][dtype]
    cdef PyObject *recording = mgx_recording_list
    cdef bint is_checked = watching() and may_create_non_finite(call, row)
    cdef double start = mgx_now() if recording != NULL else 0
    cdef Py_ssize_t bad
    cdef int k
    if mgx_checked:
        check_call(call, row, dtype)
    if mgx_reads != NULL:
        for k in range(facts.first_write):
            if call.array[k] != NULL:
                note_array_read(<Array> call.array[k])
    bad = run_short_kernel(&kernel_rows[row], kernel, &call.args)
    if bad < MGX_DONE:
        bad = run_held(call, row, kernel, bad)
    for k in range(facts.first_update, facts.count):
        if call.array[k] != NULL:
            (<Array> call.array[k]).storage.version += 1
    if bad < MGX_DONE:
        check_run(bad)
    if recording != NULL and bad == MGX_DONE:
        record_call(<LaunchList> recording, call, row, dtype, kernel, start)
    if is_checked and bad == MGX_DONE:
        check_structured_result(call, row)
    return bad


cdef Py_ssize_t run_held(Call *call, int row, mgx_kernel kernel, Py_ssize_t bad) except? -9:
    """A launch that is long, or needs BLAS, which is imported. Meanwhile other Python code may run, an import's or a
    signal handler's, and give the operands other data, so theirs is held. Only a draw is not to be interleaved with
    others': its generator moves on when it has ended."""
    global mgx_yields
    cdef Storage *held[OPERANDS]
    cdef int k, before = mgx_yields
    for k in range(call.count):
        held[k] = NULL if call.array[k] == NULL else (<Array> call.array[k]).storage
        if held[k] != NULL:
            held[k].refs += 1
    try:
        if bad == MGX_LONG:
            mgx_yields = not kernel_facts[row].draws
            bad = run_kernel(&kernel_rows[row], kernel, &call.args)
        if bad == MGX_DECLINED:
            import_blas()
            bad = run_kernel(&kernel_rows[row], kernel, &call.args)
        return bad
    finally:
        mgx_yields = before
        for k in range(call.count):
            if held[k] != NULL:
                unref(held[k])


cdef int record_call(LaunchList recording, Call *call, int row, int dtype, mgx_kernel kernel, double start) except -1:
    cdef double seconds = mgx_now() - start
    cdef Launch here_
    cdef Launch *launch_ = &here_ if recording.timed else recording.add()
    cdef int k
    launch_.args, launch_.kernel, launch_.loop, launch_.tiles, launch_.host = call.args, kernel, NULL, NULL, NULL
    launch_.table, launch_.row, launch_.part, launch_.dtype = KERNELS, row, MGX_FORWARD, dtype
    launch_.count, launch_.writes = call.count, 0
    for k in range(call.count):
        launch_.storage[k] = NULL if call.array[k] == NULL else (<Array> call.array[k]).storage
        if launch_.storage[k] != NULL and not recording.timed:
            name_storage(launch_.storage[k])
        if k >= kernel_facts[row].first_update and call.array[k] != NULL:
            launch_.writes |= 1 << k
    if not recording.timed:
        for k in range(call.count):
            if call.array[k] != NULL:
                note_tensor(<Array> call.array[k])
    if recording.timed or recording.profile is not None:
        note_time(recording if recording.timed else recording.profile, launch_, start, seconds, None)
    return 0


cdef extern from *:
    """
    #ifdef MGX_CHECKED
    #define mgx_checked 1
    #else
    #define mgx_checked 0
    #endif
    """
    bint mgx_checked


cdef int check_call(Call *call, int row, int dtype) except -1:
    """Is every operand there, of its dtype and long enough, and does nothing overlap that is written? For every
    launch of a checked build."""
    cdef mgx_measure to
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef Array a
    cdef int k, j, type
    cdef Py_ssize_t size
    name = kernel_rows[row].name.decode()
    if call.count != facts.count:
        raise ShapeError(f"{name}: {call.count} operands, the row names {facts.count}")
    kernel_rows[row].measure(&call.args, &to)
    for k in range(call.count):
        if call.array[k] == NULL:
            if not facts.optional >> k & 1:
                raise ShapeError(f"{name}: operand {k} is not optional")
            continue
        a = <Array> call.array[k]
        type = to.type[k] if to.type[k] < MGX_OF_LAUNCH else dtype
        if to.type[k] != MGX_BOOL and a.dtype_ != type:
            raise DTypeError(f"{name}: operand {k} is {dtype_of(a.dtype_)}, the row says {dtype_of(type)}")
        size = to.elements[k] * itemsize[type]
        if to.elements[k] < 0 or to.type[k] != MGX_OF_LAUNCH_STRIDED and not (
                a.contiguous and a.data <= call.args.p[k]
                and call.args.p[k] + size <= a.data + a.size * itemsize[a.dtype_]):
            raise ShapeError(f"{name}: operand {k} of shape {shape_of(a)} has not the {to.elements[k]} elements that "
                             "the row says")
        for j in range(facts.first_update, call.count):
            if j != k and to.type[k] != MGX_OF_LAUNCH_STRIDED and to.type[j] != MGX_OF_LAUNCH_STRIDED \
                    and call.args.p[j] != NULL and call.args.p[j] < call.args.p[k] + size and call.args.p[k] < \
                    call.args.p[j] + to.elements[j] * itemsize[to.type[j] if to.type[j] < MGX_OF_LAUNCH else dtype]:
                raise ShapeError(f"{name}: operands {k} and {j} overlap")
    return 0


cdef int import_blas() except -1:
    """SciPy's BLAS, imported at the first product that needs it: the import costs more than a small program runs."""
    from scipy.linalg import cython_blas
    cdef object s = cython_blas.__pyx_capi__["sgemm"], d = cython_blas.__pyx_capi__["dgemm"]
    set_blas(<mgx_sgemm> PyCapsule_GetPointer(s, PyCapsule_GetName(s)),
             <mgx_dgemm> PyCapsule_GetPointer(d, PyCapsule_GetName(d)))
    return 0


# ----- composites: what a row computes, written in operations --------------------------------------------------------

composites = {}                 # {row: function}


def composite(str row):
    """Decorator for the function that computes in operations of Tensors what the row ``row`` of ``csrc/kernels.def``
    computes in C.

    It takes the operands that the row reads and updates, in the shapes that the row's doc gives, then its flags and
    numbers by name, and returns what the row updates and writes, in order. It is the oracle that tests compare the
    kernel with; and for a node that is called like its row, its derivative is the vjp under ``create_graph``, so that
    no kernel needs a second derivative of its own.
    """
    kernel_row(row)

    def register(function):
        composites[row] = function
        return function
    return register


@composite("copy")
def _copy_composite(x, **sizes):
    return x.clone()


@composite("constant")
def _constant_composite(x, **sizes):
    return x.clone()


@composite("fill")
def _fill_composite(*, n, width, word, **sizes):
    return np.frombuffer(word.to_bytes(width, "little", signed=True) * (n // width), np.float32)


def run(str kernel, *operands, integers=(), numbers=()):
    """Run the row ``kernel`` of ``csrc/kernels.def`` on Tensors, in the order of its lists; None is an absent operand.

    Integers take their places one after the other (an ``mgx_windows`` has twelve). Returns None, or the first bad
    index. Operands are contiguous, of the dtypes that the row names, and at least as long as the integers say, which is
    checked; but for those that are STRIDED, whose strides you answer for.

    >>> import microgradx as mgx
    >>> from microgradx._core.launch import run
    >>> y = mgx.zeros(2)
    >>> run("softmax", mgx.Tensor([0.0, 0.0]), y, integers=(1, 2))
    >>> y.tolist()
    [0.5, 0.5]
    """
    cdef Call call
    cdef int row = kernel_row(kernel), k, dtype = -1
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef Py_ssize_t bad
    if len(operands) != facts.count or len(integers) != facts.integers or len(numbers) != facts.numbers:
        raise ShapeError(f"{kernel}: {len(operands)} operands, {len(integers)} integers and {len(numbers)} numbers; "
                         f"the row takes {facts.count}, {facts.integers} and {facts.numbers}")
    call.count = 0
    for k, a in enumerate(operands):
        put(&call, <Array?> a if a is not None else None)
        if dtype < 0 and a is not None and facts.of_launch >> k & 1:
            dtype = (<Array> a).dtype_
        if a is not None and k >= facts.first_update:
            check_writable(<Array> a, kernel)
    for k, n in enumerate(integers):
        call.args.n[k] = n
    for k, x in enumerate(numbers):
        call.args.x[k] = x
    dtype = MGX_F64 if dtype < 0 else dtype
    if dtype > MGX_F64:
        raise DTypeError(f"{kernel}: operands of the launch's dtype are float32 or float64, not {dtype_of(dtype)}")
    check_call(&call, row, dtype)
    bad = launch(&call, row, dtype)
    return None if bad == MGX_DONE else bad


# ----- elementwise -------------------------------------------------------------------------------------------

cdef enum: FEW = 64             # a number among so few elements is broadcast at once


cdef int elementwise(int row, int part, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1:
    """Run one loop of a row of ops.def over operands broadcast to ``shape``; inputs first, then outputs of exactly that
    shape."""
    cdef Observation seen
    cdef bint direct, observed = mgx_recording_list != NULL or observers
    cdef Py_ssize_t code
    seen.non_finite = False
    if observed:
        observe(&seen, nin, operand)
    code = run_elementwise(kernels.rows[dtype][row].part[part], dtype, nin, nout, operand, ndim, shape, &direct)
    (<Array> operand[nin].array).storage.version += 1
    if code != MGX_DONE:
        return check_run(code)
    if observed:
        if seen.recording != NULL:
            record_elementwise(<LaunchList> seen.recording, row, part, dtype, nin, nout, operand, ndim, shape, direct,
                               seen.start)
        if watching() and not seen.non_finite:
            check_elementwise_result(row, part, dtype, nin, operand)
    return 0


cdef struct Observation:            # of a launch, while something records, detect_nan is on or reads are noted
    PyObject *recording
    bint non_finite                 # was what it overwrites so before?
    double start


cdef int observe(Observation *seen, int nin, Operand *operand) except -1:
    cdef int k
    seen.recording, seen.non_finite = mgx_recording_list, watching() and overwrites_non_finite(nin, operand)
    seen.start = mgx_now()
    if mgx_reads != NULL:
        for k in range(nin):
            if operand[k].form == ARRAY:
                note_array_read(<Array> operand[k].array)
    return 0


cdef inline int gather(Operand *operand, int count, int dtype, Py_ssize_t size, char **p) noexcept:
    """Where the operands are stored, for a loop that can read and write all of them as they are. Returns a bit for each
    that is a number, and so is stored nowhere; -1 if the loop cannot."""
    cdef PyObject *a
    cdef int k, numbers = 0
    for k in range(count):
        if operand[k].form == ARRAY:
            a = operand[k].array
            if (<Array> a).size != size or (<Array> a).dtype_ != dtype or not (<Array> a).contiguous:
                return -1
            p[k] = (<Array> a).data
        elif operand[k].form == BYTES:
            p[k] = operand[k].data
        elif operand[k].form == ABSENT:
            p[k] = p[0]
        else:
            numbers |= 1 << k
    return numbers


cdef inline Py_ssize_t run_elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand, int ndim,
                                       const Py_ssize_t *shape, bint *direct) except? -9:
    """``direct``: did the loop read and write all operands as they lie, or numbers spread out for few elements?"""
    cdef char *p[MGX_MAXARGS]
    cdef Py_ssize_t size = (<Array> operand[nin].array).size
    cdef int numbers = gather(operand, nin + nout, dtype, size, p)
    direct[0] = numbers == 0 or numbers > 0 and size <= FEW
    if size >= MGX_MUCH:
        return run_held_elementwise(loop, dtype, nin, nout, operand, ndim, shape, direct[0])
    if numbers == 0:
        loop(size, p)
    elif direct[0]:
        with_numbers(loop, dtype, numbers, operand, size, p)
    else:
        return strided(loop, dtype, nin, nout, operand, ndim, shape)
    return MGX_DONE


cdef Py_ssize_t run_held_elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand, int ndim,
                                     const Py_ssize_t *shape, bint direct) except? -9:
    """A long one, as in `run_held`."""
    global mgx_yields
    cdef Storage *held[MGX_MAXARGS]
    cdef char *p[MGX_MAXARGS]
    cdef Py_ssize_t size = (<Array> operand[nin].array).size
    cdef int k, before = mgx_yields
    for k in range(nin + nout):
        held[k] = (<Array> operand[k].array).storage if operand[k].form == ARRAY else \
            operand[k].storage if operand[k].form == BYTES else NULL
        if held[k] != NULL:
            held[k].refs += 1
    mgx_yields = True
    try:
        if direct:
            p[0] = NULL                             # for the compiler, which cannot see that all are set
            gather(operand, nin + nout, dtype, size, p)
            return run_loop(loop, size, dtype, nin + nout, p)
        return strided(loop, dtype, nin, nout, operand, ndim, shape)
    finally:
        mgx_yields = before
        for k in range(nin + nout):
            if held[k] != NULL:
                unref(held[k])


cdef int record_elementwise(LaunchList recording, int row, int part, int dtype, int nin, int nout, Operand *operand,
                            int ndim, const Py_ssize_t *shape, bint direct, double start) except -1:
    """A number that goes with few elements is spread out once and for all. Tiles are only laid out, so that the launch
    may be fused with others before they are prepared."""
    cdef double seconds = mgx_now() - start
    cdef Launch here_
    cdef mgx_tiles tiles
    cdef mgx_op op
    cdef Py_ssize_t axes[MGX_MAXARGS + 1][MGX_MAXDIM]
    cdef Launch *launch_ = &here_ if recording.timed else recording.add()
    cdef Array out = <Array> operand[nin].array, numbers
    cdef int k
    launch_.kernel, launch_.loop, launch_.tiles, launch_.host = NULL, kernels.rows[dtype][row].part[part], NULL, NULL
    launch_.table, launch_.row, launch_.part, launch_.dtype, launch_.count = ROWS, row, part, dtype, nin + nout
    launch_.args.n[0] = out.size
    launch_.writes = ((1 << nout) - 1) << nin
    if recording.timed:
        for k in range(nin + nout):
            launch_.storage[k] = out.storage if operand[k].form in (ARRAY, BYTES) else NULL       # an operand in memory
        if not direct:
            tiles.op = &op
            give_axes(&tiles, nin + nout, ndim, &axes[0][0])
            lay_out(&tiles, launch_.args.p, launch_.loop, dtype, nin, nout, operand, shape)
            launch_.tiles = &tiles
        return note_time(recording, launch_, start, seconds, None)
    for k in range(nin + nout):
        launch_.storage[k], launch_.args.p[k] = NULL, NULL
        if operand[k].form == ARRAY:
            launch_.storage[k], launch_.args.p[k] = (<Array> operand[k].array).storage, (<Array> operand[k].array).data
            note_tensor(<Array> operand[k].array)
        elif operand[k].form == BYTES:
            launch_.storage[k], launch_.args.p[k] = operand[k].storage, operand[k].data
        elif operand[k].form == NUMBER and direct:
            set_recording(None)
            try:
                numbers = empty(dtype, 1, &out.size)
                fill(numbers, operand[k].number)
            finally:
                set_recording(recording)
            recording.constants.append(numbers)
            launch_.storage[k], launch_.args.p[k] = numbers.storage, numbers.data
        elif direct:                                # what the loop does not read
            launch_.storage[k], launch_.args.p[k] = launch_.storage[0], launch_.args.p[0]
        if launch_.storage[k] != NULL:
            name_storage(launch_.storage[k])
    if not direct:
        launch_.tiles = new_tiles(nin + nout, 1, ndim)
        lay_out(launch_.tiles, launch_.args.p, launch_.loop, dtype, nin, nout, operand, shape)
    if recording.profile is not None:
        note_time(recording.profile, launch_, start, seconds, None)
    return 0


cdef mgx_tiles *new_tiles(int operands, int count, int ndim) except NULL:
    """Tiles with room for as many operands, operations and axes as they have."""
    cdef size_t size = sizeof(mgx_tiles) - (MGX_MAXOPERANDS - operands) * sizeof(mgx_operand)
    cdef size_t ops = count * sizeof(mgx_op), axes = (operands + 1) * max(ndim, 1) * sizeof(Py_ssize_t)
    cdef mgx_tiles *tiles = <mgx_tiles *> malloc(size + ops + axes)
    if tiles == NULL:
        raise MemoryError("compile: no memory for another launch")
    tiles.op = <mgx_op *> (<char *> tiles + size)
    give_axes(tiles, operands, ndim, <Py_ssize_t *> (<char *> tiles + size + ops))
    return tiles


cdef void give_axes(mgx_tiles *tiles, int operands, int ndim, Py_ssize_t *room) noexcept:
    """Where tiles store the lengths of their axes and the strides of each operand."""
    cdef int k
    tiles.ndim, tiles.shape = ndim, room
    for k in range(operands):
        room += max(ndim, 1)
        tiles.operand[k].strides = room


cdef void with_numbers(mgx_loop loop, int dtype, int numbers, Operand *operand, Py_ssize_t size, char **p) noexcept:
    cdef double spread[MGX_MAXARGS][FEW]
    cdef int k
    cdef Py_ssize_t i
    for k in range(MGX_MAXARGS):
        if not numbers & 1 << k:
            continue
        p[k] = <char *> spread[k]
        if dtype == MGX_F32:
            for i in range(size):
                (<float *> p[k])[i] = <float> operand[k].number
        else:
            for i in range(size):
                (<double *> p[k])[i] = operand[k].number
    loop(size, p)


cdef Py_ssize_t strided(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                        int ndim, const Py_ssize_t *shape) except? -9:
    """Any layout, any dtype, any broadcast: through the tiles of csrc/launch.c."""
    cdef mgx_tiles tiles
    cdef mgx_op op
    cdef Py_ssize_t axes[MGX_MAXARGS + 1][MGX_MAXDIM]
    cdef char *data[MGX_MAXARGS]
    tiles.op = &op
    give_axes(&tiles, nin + nout, ndim, &axes[0][0])
    lay_out(&tiles, data, loop, dtype, nin, nout, operand, shape)
    prepare(&tiles)
    return run_tiles(&tiles, data)


cdef int lay_out(mgx_tiles *tiles, char **data, mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                 const Py_ssize_t *shape) except -1:
    """Tiles of one loop, which have their axes. A number is stored in the tiles themselves."""
    cdef mgx_operand *to
    cdef Array a
    cdef Py_ssize_t step
    cdef int k, d, skip, ndim = tiles.ndim
    tiles.dtype, tiles.nin, tiles.nout, tiles.count, tiles.slots = dtype, nin, nout, 1, nin + nout
    tiles.op[0].loop, tiles.op[0].chain_length, tiles.op[0].result = loop, 0, 0
    for d in range(ndim):
        tiles.shape[d] = shape[d]
    for k in range(MGX_MAXARGS):
        tiles.op[0].arg[k] = k if k < nin + nout else 0
    for k in range(nin + nout):
        to = &tiles.operand[k]
        to.absent = operand[k].form == ABSENT
        if operand[k].form == ARRAY:
            a = <Array> operand[k].array
            data[k], to.dtype = a.data, a.dtype_
            skip = ndim - a.ndim
            for d in range(ndim):
                to.strides[d] = 0 if d < skip or a.shape_[d - skip] == 1 else a.strides_[d - skip]
        elif operand[k].form == BYTES:
            data[k], to.dtype, step = operand[k].data, dtype, itemsize[dtype]
            for d in range(ndim - 1, -1, -1):
                to.strides[d] = step
                step *= shape[d]
        else:
            to.number = operand[k].number
            data[k], to.dtype = <char *> &to.number, MGX_F64
            for d in range(ndim):
                to.strides[d] = 0
    return 0


cdef int COPY = kernel_row("copy"), CONSTANT = kernel_row("constant"), FILL = kernel_row("fill")


def _cast(out, x):
    by_parts(_cast_part, out, x if x.shape == out.shape else np.broadcast_to(x, out.shape))


def _cast_part(out, x):
    np.copyto(out, x, casting="unsafe")


cdef int copy(Array source, Array out) except -1:
    """out = source, broadcast and converted."""
    cdef Operand operand[2]
    cdef Call call
    if source.dtype_ == out.dtype_ > MGX_F64 and source.contiguous and out.contiguous and source.size == out.size:
        call.count = 0
        put(&call, source)
        put(&call, out)
        call.args.n[0] = out.size * itemsize[out.dtype_]
        launch(&call, COPY, MGX_F64)
        return 0
    if out.dtype_ > MGX_F64:
        return host(_cast, (out,), (source,))
    put_array(&operand[0], source)
    put_array(&operand[1], out)
    return elementwise(MGX_clone, MGX_FORWARD, out.dtype_, 1, 1, operand, out.ndim, out.shape_)


cdef int fill(Array out, double number) except -1:
    """out = number."""
    cdef Operand operand[2]
    if out.dtype_ > MGX_F64:
        return fill_integer(out, <int64_t> number)
    put_number(&operand[0], number)
    put_array(&operand[1], out)
    return elementwise(MGX_clone, MGX_FORWARD, out.dtype_, 1, 1, operand, out.ndim, out.shape_)


cdef int fill_integer(Array out, int64_t number) except -1:
    """out = number, of integers or of a mask."""
    cdef Call call
    if not out.contiguous:
        return host(np.ndarray.fill, (out,), (number,))
    call.count = 0
    put(&call, out)
    call.args.n[0], call.args.n[1] = out.size * itemsize[out.dtype_], itemsize[out.dtype_]
    call.args.n[2] = number if out.dtype_ == MGX_I64 else number != 0
    launch(&call, FILL, MGX_F64)
    return 0


cdef int freeze(Array a) except -1:
    """``a`` was just made of numbers that no launch wrote: a program writes them again from a copy."""
    cdef Call call
    cdef Array constant
    cdef LaunchList recording
    if not is_capturing():
        return 0
    recording = set_recording(None)
    try:
        constant = empty(a.dtype_, a.ndim, a.shape_)
        call.count = 0
        put(&call, a)
        put(&call, constant)
        call.args.n[0] = a.size * itemsize[a.dtype_]
        launch(&call, CONSTANT, MGX_F64)            # the copy, now
    finally:
        set_recording(recording)
    recording.constants.append((constant, format_call_site()))
    call.count = 0
    put(&call, constant)
    put(&call, a)
    return record_call(recording, &call, CONSTANT, MGX_F64, kernels.kernel[CONSTANT][MGX_F64], 0)


array.freeze = freeze


# ----- host --------------------------------------------------------------------------------------------------

cdef int raise_without_memory(object error) except -1:
    """A SystemError of NumPy's or Python's: where an allocation fails they may return nothing and no exception, or
    both."""
    if isinstance(error.__cause__, MemoryError) or "without" in str(error):
        raise MemoryError("no memory for NumPy or Python") from None
    raise error


cdef int host(object function, tuple outs, tuple ins) except -1:
    """function(*outs, *ins) over NumPy arrays: outs writable, ins read-only; what is no array is passed as it is."""
    cdef LaunchList recording = set_recording(None)             # reading the operands is no leak of values
    cdef double start = mgx_now()
    note_operands_read(ins)
    cdef list written = [detached(<Array> o) for o in outs]     # whatever the function gives them for data
    cdef list non_finite_before = [(<Array> o).storage.version and not is_clean(<Array> o)
                                   for o in written] if watching() else []
    try:
        with np.errstate(all="ignore"):                         # nan and inf flow without a word, as in kernels
            function(*[writable_ndarray(<Array> o) for o in written],
                     *[readable_ndarray(<Array> i) if isinstance(i, Array) else i for i in ins])
    except (TypeError, ValueError, IndexError):                 # NumPy looks at operands before it writes
        raise
    except BaseException as error:
        bump_versions(written)
        if isinstance(error, SystemError):
            raise_without_memory(error)
        raise
    finally:
        set_recording(recording)
    bump_versions(written)
    if recording is not None:
        record_host(recording, function, outs, ins, start)
    if watching():
        check_host_results(function, outs, ins, non_finite_before)
    return 0


PART = 1 << 20                  # elements of a host launch that NumPy has at once, for it looks at no signals


def stretches(x, int axis):
    """The slices of axis ``axis`` of an array that have a million elements each; signals are handled between them."""
    cdef Py_ssize_t n = x.shape[axis], step = max(1, PART * n // max(x.size, 1)), i
    for i in range(0, n, step):
        signals()
        yield (slice(None),) * axis + (slice(i, i + step),)


cdef int signals() except -1:
    return mgx_raise_pending() if PyErr_CheckSignals() < 0 else 0


def by_parts(function, out, x, along=None, options=()):
    """``function(out, x, *options)`` of arrays whose shapes differ along axis ``along`` at most: stretches of their
    longest other axis, one after the other."""
    cdef list lengths
    if x.size > PART:
        lengths = [0 if d == along else n for d, n in enumerate(x.shape)]
        if max(lengths) > 1:
            for part in stretches(x, lengths.index(max(lengths))):
                function(out[part], x[part], *options)
            return
    function(out, x, *options)


cdef int bump_versions(list arrays) except -1:
    for a in arrays:
        bump_version(<Array> a)
    return 0


cdef Array compute_on_host(object function, tuple ins):
    """The array ``function(*ins)`` over NumPy arrays, as a host launch; shape and dtype follow from the operands', and
    it is contiguous, as in a replay."""
    cdef LaunchList recording = set_recording(None)
    cdef double start = mgx_now()
    cdef Array out
    note_operands_read(ins)
    try:
        with np.errstate(all="ignore"):
            arrays = [readable_ndarray(<Array> i) if isinstance(i, Array) else i for i in ins]
            out = from_object(np.asarray(function(*arrays), order="C"), None, True)
    except SystemError as error:
        raise_without_memory(error)
    finally:
        set_recording(recording)
    if recording is not None:
        def compute(out, *ins):
            out[...] = function(*ins)
        compute.__name__ = getattr(function, "__name__", "compute")
        record_host(recording, compute, (out,), ins, start)
    if watching():
        check_host_results(function, (out,), ins, [False])
    return out


def compute(function, *ins):
    """``computed``, for Python."""
    return compute_on_host(function, ins)


cdef object snapshot(Storage *s):
    """What a storage holds: its bytes, or of somebody else's memory an array of the elements that are ours."""
    if s.owner != NULL:
        return np.array(<object> s.owner)
    return s.data[:s.nbytes]


cdef int restore(Storage *s, object numbers) except -1:
    """Let a storage hold again what it did at its ``snapshot``."""
    cdef char *first = s.data
    if s.owner != NULL:
        np.copyto(<object> s.owner, numbers)
    else:
        memmove(first, <char *> <bytes> numbers, s.nbytes)
    return 0


cdef int copy_storage(const Storage *s, Array to, Py_ssize_t offset) except -1:
    """All bytes of a storage, whatever they are, to byte ``offset`` of ``to``."""
    cdef char *first = to.data + offset
    memmove(first, s.data, s.nbytes)
    bump_version(to)
    return 0


def filled(function, tuple shape, object dtype):
    """A tensor whose numbers ``function(out)`` writes into an array: drawn again at every replay of a program."""
    cdef Py_ssize_t lengths[MGX_MAXDIM]
    cdef int d
    cdef Array out
    check_ndim(host_name(function), len(shape))
    for d in range(len(shape)):
        lengths[d] = shape[d]
    out = empty(dtype_code(dtype), len(shape), lengths)
    host(function, (out,), ())
    return out


cdef tuple detached_operands(tuple operands):
    return tuple([detached(<Array> o) if isinstance(o, Array) else o for o in operands])


cdef int let_go_of_operands(tuple operands) noexcept:
    """Like other launches, a host launch that is written down does not hold the storages that it names while the
    capture lasts. When it ends each array is given its reference, by `hold_host_operands` of passes."""
    for o in operands:
        if isinstance(o, Array):
            name_storage((<Array> o).storage)
            (<Array> o).storage.refs -= 1
    return 0


cdef int record_host(LaunchList recording, object function, tuple outs, tuple ins, double start) except -1:
    cdef double seconds = mgx_now() - start
    cdef Launch here_
    cdef Launch *launch_ = &here_ if recording.timed else recording.add()
    cdef tuple call
    if not recording.timed:
        outs, ins = detached_operands(outs), detached_operands(ins)
    call = (function, outs, ins)
    launch_.kernel, launch_.loop, launch_.tiles, launch_.host = NULL, NULL, NULL, <PyObject *> call
    launch_.table, launch_.row, launch_.part, launch_.dtype, launch_.count, launch_.writes = HOST, 0, 0, 0, 0, 0
    if recording.timed:
        return note_time(recording, launch_, start, seconds, None)
    recording.hosts.append(call)
    let_go_of_operands(outs)
    let_go_of_operands(ins)
    if recording.profile is not None:
        note_time(recording.profile, launch_, start, seconds, None)
    return 0


# ----- detect_nan: does what was written contain nan, and who is to blame? --------------------------------------------

cdef bint may_create_non_finite(Call *call, int row) except -1:
    """Before a structured launch: could it be to blame for a nan? Not if what it updates has one already, nor if it
    makes none of finite numbers and all are finite."""
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef bint keeps_finite = kernel_rows[row].keeps_finite and watching() == 1
    cdef int k
    for k in range(facts.first_write):
        if call.array[k] != NULL and facts.of_launch >> k & 1 and k != facts.first_update:
            keeps_finite = keeps_finite and is_finite(<Array> call.array[k])
    if keeps_finite:
        return False
    for k in range(facts.first_update, facts.first_write):
        if call.array[k] != NULL and facts.of_launch >> k & 1 and not is_clean(<Array> call.array[k]):
            return False
    return True


cdef int check_structured_result(Call *call, int row) except -1:
    """After a structured launch: its first result is looked at, and if there is a nan, all that it read."""
    cdef KernelFacts *facts = &kernel_facts[row]
    cdef Array out = <Array> call.array[facts.first_update]
    cdef list operands = []
    cdef int k
    if not facts.of_launch >> facts.first_update & 1 or is_clean(out):
        return 0
    for k in range(facts.first_update):
        if call.array[k] != NULL and facts.of_launch >> k & 1:
            operands.append(<Array> call.array[k])
            if not is_clean(<Array> call.array[k]):
                return 0
    return raise_non_finite(kernel_rows[row].operation.decode(), out, tuple(operands), None)


cdef bint overwrites_non_finite(int nin, Operand *operand) except -1:
    """Does an elementwise launch write over an operand that is not finite already?"""
    cdef int k
    for k in range(nin):
        if operand[k].form == ARRAY and \
                (<Array> operand[k].array).storage == (<Array> operand[nin].array).storage:
            return not is_clean(<Array> operand[k].array)
    return False


cdef int check_elementwise_result(int row, int part, int dtype, int nin, Operand *operand) except -1:
    """After an elementwise launch. A derivative that was stored with the result is not examined before it is used."""
    cdef Array out = <Array> operand[nin].array
    cdef list operands
    cdef int k
    cdef bint on
    if is_clean(out):
        return 0
    for k in range(nin):
        if operand[k].form == ARRAY:
            if (<Array> operand[k].array).storage != out.storage and not is_clean(<Array> operand[k].array):
                return 0
        elif operand[k].form == BYTES:
            if not kernels.all_finite[dtype](out.size, operand[k].data):
                return 0
        elif operand[k].form == NUMBER:
            if operand[k].number != operand[k].number or watching() == 2 and operand[k].number - operand[k].number != 0:
                return 0
    if part >= MGX_VJP0:
        return 0
    on = hold_collector()                           # until the operands are held
    try:
        operands = [<Array> operand[k].array if operand[k].form == ARRAY else operand[k].number for k in range(nin)
                    if operand[k].form == ARRAY or operand[k].form == NUMBER]
    finally:
        free_collector(on)
    return raise_non_finite(rows[row].name.decode(), out, tuple(operands), None)


cdef int check_host_results(object function, tuple outs, tuple ins, list non_finite_before) except -1:
    """After a host launch."""
    for i in ins:
        if isinstance(i, Array) and not is_clean(<Array> i) or isinstance(i, float) and is_reported(i):
            return 0
    for o, before in zip(outs, non_finite_before):
        if not before and not is_clean(<Array> o):
            raise_non_finite(function.__name__.strip("_"), <Array> o, ins, None)
    return 0
