# The only `cdef extern` door to csrc. Everything else reaches C through what this module exports.
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "kernels.h" nogil:
    enum: MGX_F32, MGX_F64, MGX_I64, MGX_BOOL
    enum: MGX_MAXDIM, MGX_MAXARGS, MGX_NROWS
    enum: MGX_RECYCLES      # freed memory is kept for reuse; not in the checked build
    # Written by tools/generate.py from csrc/ops.def: edit that, then run `python tools/generate.py`.
    enum:
        MGX_clone, MGX_neg, MGX_abs, MGX_sign, MGX_square, MGX_sqrt, MGX_rsqrt, MGX_reciprocal, MGX_floor, MGX_ceil,
        MGX_round, MGX_trunc, MGX_exp, MGX_exp2, MGX_expm1, MGX_log, MGX_log2, MGX_log10, MGX_log1p, MGX_sin,
        MGX_cos, MGX_tan, MGX_asin, MGX_acos, MGX_atan, MGX_sinh, MGX_cosh, MGX_tanh, MGX_asinh, MGX_acosh,
        MGX_atanh, MGX_erf, MGX_erfc, MGX_sigmoid, MGX_logsigmoid, MGX_logit, MGX_softplus, MGX_relu, MGX_relu6,
        MGX_leaky_relu, MGX_prelu, MGX_elu, MGX_selu, MGX_celu, MGX_gelu, MGX_gelu_tanh, MGX_silu, MGX_mish,
        MGX_softsign, MGX_hardtanh, MGX_hardsigmoid, MGX_hardswish, MGX_hardshrink, MGX_softshrink, MGX_tanhshrink,
        MGX_threshold, MGX_add, MGX_sub, MGX_mul, MGX_div, MGX_pow, MGX_maximum, MGX_minimum, MGX_fmod,
        MGX_remainder, MGX_atan2, MGX_hypot, MGX_logaddexp, MGX_xlogy, MGX_lerp, MGX_where, MGX_clip, MGX_gt,
        MGX_ge, MGX_lt, MGX_le, MGX_eq, MGX_ne, MGX_mul_no_nan, MGX_dsigmoid, MGX_sech2, MGX_gauss, MGX_normpdf,
        MGX_dsilu, MGX_dgelu, MGX_dgelu_tanh, MGX_dmish
    # The end of what tools/generate.py writes.

    ctypedef struct mgx_row:
        const char *name
        const char *kind
        const char *forward
        const char *derivative[3]
        int arity
        double lo, hi, ulp, dulp
        const char *doc
    const mgx_row mgx_table[]

    ctypedef void (*mgx_loop)(Py_ssize_t n, char **p) noexcept nogil
    enum: MGX_FORWARD, MGX_FORWARD_D, MGX_VJP0
    ctypedef struct mgx_loops:
        mgx_loop part[5]
    ctypedef void (*mgx_rule)(const double *v, int needs, double *y, double *d) noexcept nogil
    ctypedef struct mgx_windows:
        Py_ssize_t size[2]
        Py_ssize_t kernel[2]
        Py_ssize_t stride[2]
        Py_ssize_t dilation[2]
        Py_ssize_t before[2]
        Py_ssize_t count[2]
    enum: MGX_CELL_TANH, MGX_CELL_RELU, MGX_CELL_GRU, MGX_CELL_LSTM
    enum: MGX_OPERANDS, MGX_NKERNELS
    enum: MGX_DONE, MGX_DECLINED, MGX_NO_MEMORY, MGX_INTERRUPTED, MGX_LONG
    enum: MGX_MUCH
    ctypedef struct mgx_args:
        char *p[16]
        Py_ssize_t n[16]
        double x[6]
    ctypedef Py_ssize_t (*mgx_kernel)(const mgx_args *args, char *scratch, Py_ssize_t first,
                                      Py_ssize_t last) noexcept nogil
    enum: MGX_OF_LAUNCH, MGX_OF_LAUNCH_STRIDED
    ctypedef struct mgx_measure:
        Py_ssize_t elements[16]
        Py_ssize_t scratch
        int type[16]
        double flops
    ctypedef struct mgx_kernel_row:
        const char *name
        const char *operation
        const char *doc
        const char *reads
        const char *updates
        const char *writes
        const char *integers
        const char *numbers
        const char *split
        int keeps_finite, steady
        void (*measure)(const mgx_args *args, mgx_measure *to) noexcept nogil
    const mgx_kernel_row mgx_kernel_table[]
    enum: MGX_TERMS, MGX_LANES, MGX_PARTS
    enum: MGX_NOTHING, MGX_SETS, MGX_ADDS
    ctypedef struct mgx_scalar_op:
        int32_t op, y, first, count
    enum: MGX_MAXOPERANDS, MGX_MAXSLOTS, MGX_MAXOPS
    enum:
        MGX_LIGHT_NONE, MGX_LIGHT_ADD, MGX_LIGHT_SUB, MGX_LIGHT_SUB_FROM, MGX_LIGHT_MUL, MGX_LIGHT_DIV,
        MGX_LIGHT_DIV_INTO, MGX_LIGHT_MUL_NO_NAN, MGX_LIGHT_MUL_NO_NAN_INTO, MGX_LIGHT_NEG, MGX_LIGHT_SQUARE,
        MGX_LIGHT_RELU
    ctypedef struct mgx_op:
        mgx_loop loop
        const char *name
        uint8_t arg[6]
        uint8_t result, chain_length, code, with_ "with", keep, from_ "from"
    ctypedef Py_ssize_t (*mgx_fused_chain)(Py_ssize_t n, const mgx_op *op, char *const *slot) noexcept nogil
    ctypedef struct mgx_operand:
        int dtype, absent
        Py_ssize_t *strides
        double number
    ctypedef struct mgx_tiles:
        int dtype, nin, nout, ndim, count, slots
        Py_ssize_t *shape
        mgx_fused_chain fused_chain
        mgx_op *op
        mgx_operand operand[16]
    ctypedef struct mgx_scalar_program:
        Py_ssize_t lanes
        const int32_t *operand
        const uint8_t *mode
        double *number
        double *scalar
        double *dscalar
        double *row
        double *drow
        double *scratch
        int no_nan
    enum: MGX_LEAF, MGX_MADE, MGX_DOT, MGX_SUM, MGX_MEAN, MGX_REPLAYED, MGX_CHAIN
    ctypedef struct mgx_segment:
        int32_t numbers, leaves, nodes, stores
        const int32_t *op
        const int32_t *first
        const int32_t *operand
        const char *needs
        const int32_t *order
        const int32_t *alike
    ctypedef struct mgx_kernels:
        const char *isa
        mgx_loops rows[2][1]
        mgx_rule rules[1]
        mgx_fused_chain fused_chain[2]
        mgx_kernel kernel[1][2]
        int (*all_finite[2])(Py_ssize_t n, const char *x) noexcept nogil
        void (*replay)(const mgx_scalar_program *program, Py_ssize_t count, const mgx_scalar_op *op) noexcept nogil
        void (*replay_vjp)(const mgx_scalar_program *program, Py_ssize_t count, const mgx_scalar_op *op) noexcept nogil
        void (*replay_rows)(const mgx_scalar_program *program, Py_ssize_t count, const mgx_scalar_op *op) noexcept nogil
        void (*replay_rows_vjp)(const mgx_scalar_program *program, Py_ssize_t count,
                                const mgx_scalar_op *op) noexcept nogil
        void (*segment)(const mgx_segment *t, double *y, double *derivative) noexcept nogil
        void (*segment_vjp)(const mgx_segment *t, const double *y, const double *derivative, double *g) noexcept nogil
    bint mgx_is_none(double d) noexcept nogil
    double mgx_times(double d, double g) noexcept nogil
    const mgx_kernels *mgx_dispatch()
    ctypedef void (*mgx_sgemm)()
    ctypedef void (*mgx_dgemm)()
    Py_ssize_t mgx_run_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args)
    Py_ssize_t mgx_run_short_kernel(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args)
    Py_ssize_t mgx_run_loop(mgx_loop loop, Py_ssize_t n, int dtype, int count, char *const *p)
    void mgx_prepare(mgx_tiles *tiles)
    Py_ssize_t mgx_run_tiles(const mgx_tiles *tiles, char *const *data)
    void mgx_set_blas(mgx_sgemm s, mgx_dgemm d)
    ctypedef int (*mgx_poll)(int alone) noexcept nogil
    void mgx_set_poll(mgx_poll poll)
    bint mgx_signalled()
    int mgx_threads(int count)


# What the texts of a row say, read once at import.
cdef struct Facts:
    int arity
    bint stores                 # the local derivative is stored by the forward pass (D and H rows)
    bint compares               # the result is a mask
    int names[3]                # operands named by derivative i: bit k for operand k, bit 3 for y
    bint identity[3]            # derivative i is K(1)

cdef const mgx_kernels *kernels
cdef const mgx_row *rows
cdef Facts *facts

# What the lists of a row of kernels.def say, read once at import.
cdef struct KernelFacts:
    int count, first_update, first_write        # operands: those read, those updated, those written
    int integers, numbers
    unsigned int optional, of_launch            # a bit per operand: may be absent; has the dtype of the launch
    int counter                                 # of an update: the row that counts its steps
    bint draws                                  # reads the state of a generator

cdef const mgx_kernel_row *kernel_rows
cdef KernelFacts *kernel_facts
cdef void (*prepare)(mgx_tiles *tiles) noexcept nogil
cdef Py_ssize_t (*run_tiles)(const mgx_tiles *tiles, char *const *data) noexcept nogil
cdef Py_ssize_t (*run_loop)(mgx_loop loop, Py_ssize_t n, int dtype, int count, char *const *p) noexcept nogil
cdef Py_ssize_t (*run_kernel)(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args) noexcept nogil
cdef Py_ssize_t (*run_short_kernel)(const mgx_kernel_row *row, mgx_kernel kernel, const mgx_args *args) noexcept nogil
cdef void (*set_blas)(mgx_sgemm s, mgx_dgemm d) noexcept nogil
cdef void (*set_poll)(mgx_poll poll) noexcept nogil
cdef bint (*signalled)() noexcept nogil         # looks for signals, if it is time; the exception is then set
cpdef int opcode(str name) except -1
cpdef int kernel_row(str name) except -1
