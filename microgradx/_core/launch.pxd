# The one door: every kernel runs, and every array is written, through these functions.
from cpython.object cimport PyObject

from microgradx._core.array cimport Array, Node, Storage
from microgradx._core.kernels cimport MGX_MAXARGS, MGX_MAXDIM, mgx_launch, mgx_loop, mgx_windows

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

# A step is one launch with all that it needs to run again. A program is a tape of steps.
ctypedef Py_ssize_t (*Runner)(Step *s) noexcept nogil    # -1, or the first bad position

cdef enum: SLOTS = 16          # as many as a fused launch has operands

cdef struct Step:
    Runner run                  # NULL: a host launch
    const char *name
    int dtype, slots
    unsigned int written        # a bit for each slot that is written
    Storage *storage[SLOTS]     # of each operand; NULL: none, or a number of `x`
    char *p[SLOTS]              # its first byte
    Py_ssize_t n[8]
    double x[6]
    mgx_windows windows
    mgx_loop loop               # elementwise
    mgx_launch *job             # the same through tiles, or several loops at once
    PyObject *host              # (function, outs, ins)

cdef struct Tape:
    Step **step
    Py_ssize_t count, room
    PyObject *hosts             # lists that keep alive what the steps name
    PyObject *constants
    PyObject *leaves            # {node: its gradient when the program began}

cdef const char *CONSTANT                           # the name of a step that writes numbers which were brought in
cdef void begin(Step *s, Runner run, const char *name, int dtype) noexcept
cdef Py_ssize_t run_tiles(Step *s) noexcept nogil
cdef Tape *set_tape(Tape *tape) noexcept
cdef Tape *current_tape() noexcept
cdef int note_grad(Node node) except -1
cdef str written_at()
cdef object snapshot(Storage *s)                    # what it holds, for `put_back`
cdef int put_back(Storage *s, object numbers) except -1
cdef int refuse_rebinding() except -1
cdef Py_ssize_t rebindings                          # how often something that a program named was exchanged
cdef int note_rebinding(Array a) noexcept

cdef int elementwise(mgx_loop loop, int dtype, int nin, int nout, Operand *operand,
                     int ndim, const Py_ssize_t *shape) except -1
cdef int copy(Array source, Array out) except -1
cdef int fill(Array out, double number) except -1
cdef int reduce_sum(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double scale, Array out) except -1
cdef int reduce_max(Array x, Py_ssize_t outer, Py_ssize_t n, Py_ssize_t inner, const Py_ssize_t *strides,
                    double sign, Array out) except -1
cdef int softmax(Array x, Py_ssize_t m, Py_ssize_t n, bint logarithm, Array out) except -1
cdef int softmax_vjp(Array g, Array y, bint logarithm, Array dx) except -1
cdef Py_ssize_t add_rows(Array x, Array at, Array out) except? -2
cdef Py_ssize_t cross_entropy(Array x, Array label, double scale, Array loss, Array p) except? -2
cdef int cross_entropy_vjp(Array g, Array p, Array label, double scale, Array dx) except -1
cdef int gemm(bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, double alpha,
              Array a, char *a_data, Py_ssize_t lda, Array b, char *b_data, Py_ssize_t ldb,
              double beta, Array c, char *c_data, Py_ssize_t ldc) except -1
cdef int columns(const mgx_windows *v, Py_ssize_t planes, Array x, char *x_data, Array cols) except -1
cdef int uncolumns(const mgx_windows *v, Py_ssize_t planes, Py_ssize_t spread, Array cols,
                   Array x, char *x_data) except -1
cdef int pool_sum(const mgx_windows *v, Py_ssize_t planes, Array x, Array out) except -1
cdef Py_ssize_t pool_max(const mgx_windows *v, Py_ssize_t planes, Array x, Array out, Array at) except? -2
cdef int unpool(Py_ssize_t planes, Py_ssize_t plane, Py_ssize_t n, Array g, Array at, Array x) except -1
cdef int norm(Py_ssize_t m, Py_ssize_t n, bint centred, double eps, Array x, Array w, Array b,
              Array out, Array stats) except -1
cdef int norm_vjp(Py_ssize_t m, Py_ssize_t n, bint centred, Array g, Array x, Array w, Array stats, Array dx) except -1
cdef int norm_weight_vjp(Py_ssize_t m, Py_ssize_t n, Array g, Array x, Array stats, Array part) except -1
cdef int host(object function, tuple outs, tuple ins) except -1
cdef int check_sound(Array out, str op, Array a=*, Array b=*, bint spoilt=*) except -1
cdef Array computed(object function, tuple ins)
cdef bint sound(Array a) except -1                  # nothing in it that detect_nan looks for
