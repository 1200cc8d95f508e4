# The one door: every kernel runs, and every array is written, through these functions.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from microgradx._core.array cimport Array, Node, Storage
from microgradx._core.kernels cimport mgx_args, mgx_kernel, mgx_loop, mgx_tiles

# An operand of an elementwise launch: an array, bytes in the launch's own shape and dtype, a number, or nothing that
# the loop reads.
cdef enum Form:
    ARRAY, BYTES, NUMBER, ABSENT

cdef struct Operand:
    Form form
    PyObject *array
    Storage *storage
    char *data
    double number

cdef inline void put_array(Operand *o, Array a) noexcept:
    o.form, o.array = ARRAY, <PyObject *> a

cdef inline void put_bytes(Operand *o, Storage *storage, char *data) noexcept:
    o.form, o.storage, o.data = BYTES, storage, data

cdef inline void put_number(Operand *o, double number) noexcept:
    o.form, o.number = NUMBER, number

# A structured launch under way. The caller fills it in place: the operands by `put` in the order of the row's lists,
# the integers and numbers in `args.n` and `args.x`; then `launch` runs the row.
cdef enum: OPERANDS = 16        # MGX_OPERANDS

cdef struct Call:
    mgx_args args
    PyObject *array[OPERANDS]   # NULL: absent
    int count

cdef inline void put_at(Call *call, Array a, char *data) noexcept:
    """The next operand: ``a``, from its byte ``data`` on."""
    call.array[call.count], call.args.p[call.count] = <PyObject *> a, data
    call.count += 1

cdef inline void put(Call *call, Array a) noexcept:
    """The next operand: ``a``, or nothing if it is None."""
    if a is None:
        call.array[call.count], call.args.p[call.count] = NULL, NULL
        call.count += 1
    else:
        put_at(call, a, a.data)

# A launch as data: what a program, a profile and the passes read. It is made only while something records.
cdef enum Table:
    ROWS, KERNELS, FUSED, HOST  # a row of ops.def, a row of kernels.def, several rows of ops.def, a Python function

cdef struct Launch:
    mgx_args args               # an elementwise launch has its number of elements in n[0]
    mgx_kernel kernel           # what (table, row, part, dtype) name, so that a replay need not look it up:
    mgx_loop loop               # a structured kernel, or the loop of an elementwise one
    short table, row, part      # part: MGX_FORWARD, MGX_FORWARD_D, MGX_VJP0 ...
    int dtype, count            # of operands
    unsigned int writes         # a bit for each operand that is updated or written
    uint32_t site               # where it was called, in the recording's list of call sites
    Storage *storage[OPERANDS]  # of each operand; NULL: absent, or a number of the tiles
    mgx_tiles *tiles            # elementwise, by tiles: strided, broadcast or mixed operands, or several rows fused
    PyObject *host              # (function, outs, ins)

cdef struct Event:              # a launch that was timed
    short table, row, part
    int dtype
    uint32_t site
    double start, seconds, bytes, flops
    PyObject *name              # of a host function

cdef class LaunchList:
    """Launches of one thread, recorded as they run: all of them by a capture, their times by a profile."""
    cdef Launch **launch
    cdef Py_ssize_t count, room
    cdef bint timed             # a profile: events, not launches
    cdef str as_it_is           # why no replay can stand for the call, or None
    cdef LaunchList outer       # of a profile: the recording that goes on when it ends
    cdef LaunchList profile     # of a capture within a profile: where its times go
    cdef Event *event
    cdef Py_ssize_t events, event_room
    cdef list hosts             # (function, outs, ins) of host launches
    cdef bint holds_operands    # do they keep alive what they name? Once the capture has ended: `hold_host_operands`
    cdef list constants         # arrays of numbers that were brought in: alone, or with the call site
    cdef dict leaves            # {node: its gradient when the capture began; ...: it was replaced unread}
    cdef dict read_gradients    # {node: None} of those whose gradient was read before it was replaced
    cdef dict outside           # {id: (tensor, storage, requires_grad, hooks, is_leaf)} of those that were there before
    cdef dict arguments         # {id of a copy: (the argument, the node and requires_grad that the copy got)}
    cdef bint asks_arguments    # was any of these asked for its place in a graph?
    cdef dict reads             # {(id of an owner's dict, name): Guard} of attributes and options
    cdef dict writes            # {(id of an owner's dict, name): that dict} of those that were assigned
    cdef list draws             # (numpy generator, its state before a draw, after it)
    cdef list sites             # (code, offset of the instruction)
    cdef dict site_numbers
    cdef list names             # of the timed host functions
    cdef Launch *add(self) except NULL
    cdef uint32_t site_number(self, object site) except? 0

cdef LaunchList set_recording(LaunchList recording)   # of this thread; returns what it was
cdef dict set_reads(dict reads)                     # where launches of this thread note what they read
cdef int note_array_read(Array a) except -1
cdef bint is_capturing() noexcept
cdef LaunchList profiling()                         # the timed recording of this thread, or None
cdef mgx_loop loop_of(int row, int part, int dtype) noexcept
cdef Py_ssize_t run_launch(const Launch *l) noexcept nogil  # MGX_DONE, the first bad index or another code
cdef int check_run(Py_ssize_t code) except -1       # raises for codes that are no index
cdef str launch_name(const Launch *l)
cdef str row_name(int table, int row, int part)
cdef str host_name(object function)
cdef int measure_launch(const Launch *l, double *bytes, double *flops) noexcept
cdef int note_time(LaunchList recording, const Launch *l, double start, double seconds, object site) except -1
cdef double now() noexcept nogil

cdef int note_gradient(Node node, bint read) except -1
cdef Array as_argument(Array a)                     # whose place in a graph is asked for
cdef bint is_leaf(Array a) noexcept
cdef int note_tensor(Array a) except -1             # it is used; matters if it was there before the capture
cdef LaunchList capturing_list()                    # of the capture that this thread runs, or None
cpdef int note_as_it_is(str why) except -1          # no program can repeat what the call under capture does
cdef str format_call_site()
cdef tuple hooks_of(Array a)
cdef mgx_tiles *new_tiles(int operands, int count, int ndim) except NULL
cdef object snapshot(Storage *s)                    # what it holds, for `put_back`
cdef int restore(Storage *s, object numbers) except -1
cdef int copy_storage(const Storage *s, Array to, Py_ssize_t offset) except -1
cdef Py_ssize_t world_version       # raised by a write to what a captured call may depend on
cdef Py_ssize_t grad_version        # raised when a leaf is given another gradient, or none
cdef void bump_world(Array a) noexcept
cdef void bump_gradients() noexcept

cdef int elementwise(int row, int part, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1
cdef Py_ssize_t launch(Call *call, int row, int dtype) except? -9     # MGX_DONE or the first bad index
cdef int copy(Array source, Array out) except -1
cdef int fill(Array out, double number) except -1
cdef int fill_integer(Array out, int64_t number) except -1
cdef int raise_without_memory(object error) except -1
cdef int host(object function, tuple outs, tuple ins) except -1
cdef Array compute_on_host(object function, tuple ins)
